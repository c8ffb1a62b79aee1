#define _GNU_SOURCE
#include "cbench.h"

#include <sched.h>
#include <spawn.h>

int cbench_set_affinity(const unsigned char *mask, size_t bytes) {
    return sched_setaffinity(0, bytes, (const cpu_set_t *)mask);
}

int cbench_affinity(unsigned char *mask, size_t bytes) {
    return sched_getaffinity(0, bytes, (cpu_set_t *)mask);
}

int cbench_spawn_in(void *actions, const char *directory) {
    return posix_spawn_file_actions_addchdir_np(actions, directory);
}

int cbench_become_idle(void) {
    const struct sched_param none = {0};
    return sched_setscheduler(0, SCHED_IDLE, &none);
}
