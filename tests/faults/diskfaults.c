/* Preloaded into an exporter: faults of the disk below one path.
 *
 * DISK_PATH   part of the path of the files and devices that have the fault
 * DISK_FAULT  "pwrite ERRNO OFFSET", "pread ERRNO OFFSET": fails from that byte on; "fsync ERRNO"; "flip 0 OFFSET": one bit
 *             of that byte is written wrongly; "short 0 0": about half of what is asked for is written
 * DISK_SLOW   microseconds that each write takes
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int concerns(int fd) {
    char link[64], target[4096];
    const char *path = getenv("DISK_PATH");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, target, sizeof target - 1);
    if (length < 0 || path == NULL) return 0;
    target[length] = 0;
    return strstr(target, path) != NULL;
}

static int fault(const char *operation, int *error, long long *offset) {
    char name[16] = "";
    const char *text = getenv("DISK_FAULT");
    *error = 0, *offset = 0;
    return text != NULL && sscanf(text, "%15s %d %lld", name, error, offset) >= 2 && strcmp(name, operation) == 0;
}

static void slow(void) {
    const char *text = getenv("DISK_SLOW");
    if (text != NULL) usleep(atoi(text));
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
    int error;
    long long offset;
    if (!concerns(fd)) return real(fd, data, size, at);
    slow();
    if (fault("pwrite", &error, &offset) && at + (long long)size > offset) {
        errno = error;
        return -1;
    }
    if (fault("short", &error, &offset) && size > 4096) return real(fd, data, size / 8192 * 4096, at);
    if (fault("flip", &error, &offset) && at <= offset && offset < at + (long long)size) {
        void *copy;
        if (posix_memalign(&copy, 4096, size)) return -1;
        memcpy(copy, data, size);
        ((unsigned char *)copy)[offset - at] ^= 1;
        ssize_t written = real(fd, copy, size, at);
        free(copy);
        return written;
    }
    return real(fd, data, size, at);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

static int fails_to_read(int fd, const struct iovec *parts, off64_t at) {
    int error;
    long long offset;
    if (!concerns(fd) || !fault("pread", &error, &offset) || at + (long long)parts[0].iov_len <= offset) return 0;
    errno = error;
    return 1;
}

ssize_t preadv64(int fd, const struct iovec *parts, int count, off64_t at) {
    static ssize_t (*real)(int, const struct iovec *, int, off64_t);
    if (!real) real = dlsym(RTLD_NEXT, "preadv64");
    return fails_to_read(fd, parts, at) ? -1 : real(fd, parts, count, at);
}
ssize_t preadv(int fd, const struct iovec *parts, int count, off_t at) { return preadv64(fd, parts, count, at); }

ssize_t preadv64v2(int fd, const struct iovec *parts, int count, off64_t at, int flags) {
    static ssize_t (*real)(int, const struct iovec *, int, off64_t, int);
    if (!real) real = dlsym(RTLD_NEXT, "preadv64v2");
    return fails_to_read(fd, parts, at) ? -1 : real(fd, parts, count, at, flags);
}
ssize_t preadv2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    return preadv64v2(fd, parts, count, at, flags);
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fsync");
    int error;
    long long offset;
    if (concerns(fd) && fault("fsync", &error, &offset)) {
        errno = error;
        return -1;
    }
    return real(fd);
}
