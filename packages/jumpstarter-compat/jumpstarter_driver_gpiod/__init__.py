"""The name of the public release for jumpstarter_driver_gpio."""
