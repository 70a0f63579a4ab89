// The same random bytes in every run, a stream a thread, for whatever asks the C library: hash maps, SSRCs, ufrags. Keys
// are made of what the kernel gives. And the same wall clock: from reports, which have fractions of its seconds, senders
// take round trips. Only replays are linked with it (replay.rs).
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

ssize_t getrandom(void *buffer, size_t length, unsigned flags) {
    static _Thread_local uint64_t state;
    (void)flags;
    for (size_t done = 0; done < length; done += sizeof state) {
        // SplitMix64.
        uint64_t z = (state += 0x9E3779B97F4A7C15);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        z ^= z >> 31;
        size_t rest = length - done;
        memcpy((char *)buffer + done, &z, rest < sizeof z ? rest : sizeof z);
    }
    return (ssize_t)length;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (clock == CLOCK_REALTIME) {
        *time = (struct timespec){.tv_sec = 1800000000};
        return 0;
    }
    return (int)syscall(SYS_clock_gettime, clock, time);
}
