/*
 * A camera at /dev/video0 for one process: LD_PRELOAD this, and V4L2 calls on that path are answered here.
 *
 *   VISAVIS_SHIM_FRAMES  a directory with what the camera sees: 640x480.yuyv and 1280x720.yuyv hold raw pictures one
 *                        after another, 640x480.mjpg holds JPEGs, each after its length (32 bits, little endian).
 *                        What is there is what the camera offers, 30 pictures a second, from the first on and again.
 *   VISAVIS_SHIM_FAULT   denied: may not be opened; busy: another program has it; unplugged: gone after ten pictures;
 *                        stalled: no more pictures after ten.
 *
 *   cc -shared -fPIC -o v4l2_shim.so v4l2_shim.c -ldl
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RATE 30
#define BUFFERS 4
#define BUFFER_SIZE (1280 * 720 * 2)

struct mode {
    uint32_t format;
    const char *extension;
    uint32_t width, height;
};

static const struct mode MODES[] = {
    {V4L2_PIX_FMT_YUYV, "yuyv", 640, 480},
    {V4L2_PIX_FMT_YUYV, "yuyv", 1280, 720},
    {V4L2_PIX_FMT_MJPEG, "mjpg", 640, 480},
};
#define MODE_COUNT (sizeof MODES / sizeof MODES[0])

/* One camera, opened once at a time: nokhwa shares its handle. */
static int camera = -1;
static const struct mode *current;
static uint32_t queued[BUFFERS], queue_length;
static uint8_t *pictures;
static size_t pictures_length;
static uint64_t given, started;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int fails_with(const char *fault) {
    const char *wanted = getenv("VISAVIS_SHIM_FAULT");
    return wanted && strcmp(wanted, fault) == 0;
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void sleep_until(uint64_t at) {
    struct timespec time = {(time_t)(at / 1000000000), (long)(at % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR) {
    }
}

/* Opens the file of a mode; its absence means that the camera lacks the mode. */
static int open_mode(const struct mode *mode) {
    char path[4096];
    const char *directory = getenv("VISAVIS_SHIM_FRAMES");
    if (!directory)
        return -1;
    snprintf(path, sizeof path, "%s/%ux%u.%s", directory, mode->width, mode->height, mode->extension);
    return REAL(open)(path, O_RDONLY | O_CLOEXEC);
}

static int has_mode(const struct mode *mode) {
    int file = open_mode(mode);
    if (file < 0)
        return 0;
    close(file);
    return 1;
}

/* The `number`th mode that satisfies what is asked for; zeros ask for nothing. */
static const struct mode *find_mode(uint32_t number, uint32_t format, uint32_t width, uint32_t height) {
    for (size_t i = 0; i < MODE_COUNT; i++) {
        const struct mode *mode = &MODES[i];
        if ((format && mode->format != format) || (width && mode->width != width) ||
            (height && mode->height != height) || !has_mode(mode))
            continue;
        if (number-- == 0)
            return mode;
    }
    return NULL;
}

static const struct mode *mode_now(void) {
    if (!current)
        current = find_mode(0, 0, 0, 0);
    return current;
}

static uint32_t picture_size(const struct mode *mode) {
    return mode->width * mode->height * 2;
}

static int load_pictures(void) {
    if (pictures)
        munmap(pictures, pictures_length);
    pictures = NULL;
    int file = open_mode(mode_now());
    off_t length = file < 0 ? 0 : lseek(file, 0, SEEK_END);
    void *map = length > 0 ? mmap(NULL, (size_t)length, PROT_READ, MAP_PRIVATE, file, 0) : MAP_FAILED;
    if (file >= 0)
        close(file);
    if (map == MAP_FAILED)
        return 0;
    pictures = map;
    pictures_length = (size_t)length;
    return 1;
}

/* The bytes of picture `number`, counted on from the beginning when the file ends. */
static const uint8_t *picture(uint64_t number, uint32_t *length) {
    if (current->format == V4L2_PIX_FMT_YUYV) {
        *length = picture_size(current);
        return pictures + number % (pictures_length / *length) * *length;
    }
    size_t at = 0;
    for (;;) {
        memcpy(length, pictures + at, 4);
        if (number-- == 0)
            return pictures + at + 4;
        at += 4 + *length;
        if (at + 4 >= pictures_length)
            at = 0;
    }
}

static int fail(int code) {
    errno = code;
    return -1;
}

static void describe_format(struct v4l2_pix_format *pix) {
    const struct mode *mode = mode_now();
    memset(pix, 0, sizeof *pix);
    pix->width = mode->width;
    pix->height = mode->height;
    pix->pixelformat = mode->format;
    pix->field = V4L2_FIELD_NONE;
    pix->bytesperline = mode->format == V4L2_PIX_FMT_YUYV ? mode->width * 2 : 0;
    pix->sizeimage = picture_size(mode);
    pix->colorspace = V4L2_COLORSPACE_SRGB;
}

static int dequeue(struct v4l2_buffer *buffer) {
    if (queue_length == 0)
        return fail(EAGAIN);
    if (given == 10 && fails_with("unplugged"))
        return fail(ENODEV);
    if (given == 10 && fails_with("stalled"))
        pause();
    if (given == 0)
        started = now();
    /* A camera does not wait for its reader: what was not fetched in time is gone. */
    uint64_t due = (now() - started) * RATE / 1000000000;
    uint64_t number = due > given ? due : given;
    sleep_until(started + (number + 1) * 1000000000 / RATE);
    given = number + 1;
    uint32_t index = queued[0], length;
    memmove(queued, queued + 1, --queue_length * sizeof queued[0]);
    const uint8_t *bytes = picture(number, &length);
    if (pwrite(camera, bytes, length, (off_t)index * BUFFER_SIZE) != (ssize_t)length)
        return fail(EIO);
    if (current->format == V4L2_PIX_FMT_MJPEG) {
        /* nokhwa reads the whole buffer: nothing of an older picture may follow a short one. */
        static const uint8_t zeros[BUFFER_SIZE];
        if (pwrite(camera, zeros, BUFFER_SIZE - length, (off_t)index * BUFFER_SIZE + length) < 0)
            return fail(EIO);
    }
    uint64_t time = now();
    buffer->index = index;
    buffer->bytesused = length;
    buffer->flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    buffer->field = V4L2_FIELD_NONE;
    buffer->sequence = (uint32_t)number;
    buffer->timestamp.tv_sec = (time_t)(time / 1000000000);
    buffer->timestamp.tv_usec = (suseconds_t)(time % 1000000000 / 1000);
    buffer->length = BUFFER_SIZE;
    return 0;
}

static int answer(unsigned long request, void *argument) {
    switch (request) {
    case VIDIOC_QUERYCAP: {
        struct v4l2_capability *capability = argument;
        memset(capability, 0, sizeof *capability);
        strcpy((char *)capability->driver, "visavis-shim");
        strcpy((char *)capability->card, "visavis test camera");
        strcpy((char *)capability->bus_info, "test");
        capability->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        capability->capabilities = capability->device_caps | V4L2_CAP_DEVICE_CAPS;
        return 0;
    }
    case VIDIOC_ENUM_FMT: {
        struct v4l2_fmtdesc *description = argument;
        static const uint32_t formats[] = {V4L2_PIX_FMT_YUYV, V4L2_PIX_FMT_MJPEG};
        uint32_t number = description->index;
        for (size_t i = 0; i < 2; i++) {
            if (find_mode(0, formats[i], 0, 0) && number-- == 0) {
                description->pixelformat = formats[i];
                return 0;
            }
        }
        return fail(EINVAL);
    }
    case VIDIOC_ENUM_FRAMESIZES: {
        struct v4l2_frmsizeenum *size = argument;
        const struct mode *mode = find_mode(size->index, size->pixel_format, 0, 0);
        if (!mode)
            return fail(EINVAL);
        size->type = V4L2_FRMSIZE_TYPE_DISCRETE;
        size->discrete.width = mode->width;
        size->discrete.height = mode->height;
        return 0;
    }
    case VIDIOC_ENUM_FRAMEINTERVALS: {
        struct v4l2_frmivalenum *interval = argument;
        if (interval->index > 0 || !find_mode(0, interval->pixel_format, interval->width, interval->height))
            return fail(EINVAL);
        interval->type = V4L2_FRMIVAL_TYPE_DISCRETE;
        interval->discrete.numerator = 1;
        interval->discrete.denominator = RATE;
        return 0;
    }
    case VIDIOC_S_FMT:
    case VIDIOC_TRY_FMT:
    case VIDIOC_G_FMT: {
        struct v4l2_format *format = argument;
        if (request != VIDIOC_G_FMT) {
            const struct v4l2_pix_format *pix = &format->fmt.pix;
            const struct mode *mode = find_mode(0, pix->pixelformat, pix->width, pix->height);
            if (!mode)
                return fail(EINVAL);
            if (request == VIDIOC_S_FMT)
                current = mode;
        }
        if (!mode_now())
            return fail(EINVAL);
        describe_format(&format->fmt.pix);
        return 0;
    }
    case VIDIOC_G_PARM:
    case VIDIOC_S_PARM: {
        struct v4l2_streamparm *parameters = argument;
        memset(&parameters->parm, 0, sizeof parameters->parm);
        parameters->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
        parameters->parm.capture.timeperframe.numerator = 1;
        parameters->parm.capture.timeperframe.denominator = RATE;
        return 0;
    }
    case VIDIOC_REQBUFS: {
        struct v4l2_requestbuffers *buffers = argument;
        if (fails_with("busy"))
            return fail(EBUSY);
        if (buffers->count > BUFFERS)
            buffers->count = BUFFERS;
        queue_length = 0;
        given = 0;
        return 0;
    }
    case VIDIOC_QUERYBUF: {
        struct v4l2_buffer *buffer = argument;
        if (buffer->index >= BUFFERS)
            return fail(EINVAL);
        buffer->length = BUFFER_SIZE;
        buffer->m.offset = buffer->index * BUFFER_SIZE;
        return 0;
    }
    case VIDIOC_QBUF: {
        struct v4l2_buffer *buffer = argument;
        if (buffer->index >= BUFFERS || queue_length == BUFFERS)
            return fail(EINVAL);
        queued[queue_length++] = buffer->index;
        return 0;
    }
    case VIDIOC_DQBUF:
        return dequeue(argument);
    case VIDIOC_STREAMON:
        given = 0;
        return load_pictures() ? 0 : fail(EIO);
    case VIDIOC_STREAMOFF:
        queue_length = 0;
        return 0;
    default:
        return fail(ENOTTY);
    }
}

/* The calls that are taken over. */

static int open_instead(const char *path, int *file) {
    if (strcmp(path, "/dev/video0") == 0) {
        if (fails_with("denied")) {
            *file = fail(EACCES);
            return 1;
        }
        /* In memory: mmap works on it, and poll says that there is something to read. */
        camera = *file = memfd_create("camera", MFD_CLOEXEC);
        if (ftruncate(camera, (off_t)BUFFERS * BUFFER_SIZE) < 0)
            *file = -1;
        current = NULL;
        return 1;
    }
    if (strcmp(path, "/sys/class/video4linux/video0/name") == 0) {
        static const char name[] = "visavis test camera\n";
        *file = memfd_create("name", MFD_CLOEXEC);
        if (write(*file, name, sizeof name - 1) < 0 || lseek(*file, 0, SEEK_SET) < 0)
            *file = -1;
        return 1;
    }
    return 0;
}

#define OPEN_MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list list; \
        va_start(list, flags); \
        mode = va_arg(list, mode_t); \
        va_end(list); \
    } \
    int file; \
    if (open_instead(path, &file)) \
        return file;

int open(const char *path, int flags, ...) {
    OPEN_MODE(flags)
    return REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    OPEN_MODE(flags)
    return REAL(open64)(path, flags, mode);
}

int openat(int directory, const char *path, int flags, ...) {
    OPEN_MODE(flags)
    return REAL(openat)(directory, path, flags, mode);
}

int openat64(int directory, const char *path, int flags, ...) {
    OPEN_MODE(flags)
    return REAL(openat64)(directory, path, flags, mode);
}

int close(int file) {
    if (file == camera)
        camera = -1;
    return REAL(close)(file);
}

int ioctl(int file, unsigned long request, ...) {
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    /* The `v4l` crate has request numbers of 32 bits, sign-extended or not. */
    if (file == camera && camera >= 0)
        return answer(request & 0xffffffff, argument);
    return REAL(ioctl)(file, request, argument);
}

long syscall(long number, ...) {
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_ioctl && camera >= 0 && (int)a[0] == camera)
        return answer((unsigned long)a[1] & 0xffffffff, (void *)a[2]);
    return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* One more entry at the end of /dev. */
static DIR *devices;
static int told;

DIR *opendir(const char *path) {
    DIR *directory = REAL(opendir)(path);
    if (directory && (strcmp(path, "/dev") == 0 || strcmp(path, "/dev/") == 0)) {
        devices = directory;
        told = 0;
    }
    return directory;
}

struct dirent64 *readdir64(DIR *directory) {
    static struct dirent64 entry;
    struct dirent64 *found = REAL(readdir64)(directory);
    if (found || directory != devices || told)
        return found;
    told = 1;
    entry.d_ino = 1;
    entry.d_type = DT_CHR;
    entry.d_reclen = sizeof entry;
    strcpy(entry.d_name, "video0");
    return &entry;
}

int closedir(DIR *directory) {
    if (directory == devices)
        devices = NULL;
    return REAL(closedir)(directory);
}
