"""Emulated USB devices, and two buses to plug them into.

A device is a model of what its firmware does. `FakeBench` puts it behind pyusb and a directory that looks like sysfs,
in this process and without privileges; `KernelBench` puts it on the kernel's virtual host controller, where libusb,
udev and the kernel's drivers find it. Drivers and tests are the same on both.
"""
