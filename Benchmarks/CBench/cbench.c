#define _GNU_SOURCE
#include "cbench.h"

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <unistd.h>

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

int cbench_enter_new_network(void) {
    int before = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (before >= 0 && unshare(CLONE_NEWNET) < 0) {
        close(before);
        return -1;
    }
    return before;
}

void cbench_enter_network(int descriptor) {
    setns(descriptor, CLONE_NEWNET);
    close(descriptor);
}
