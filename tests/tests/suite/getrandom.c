// The same random bytes in every run, a stream a thread, for whatever asks the C library: hash maps, SSRCs, ufrags.
// Keys are made of what the kernel gives. Only replays are linked with it (replay.rs).
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

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
