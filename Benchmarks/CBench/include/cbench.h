// Declarations of glibc that need _GNU_SOURCE, which `import Glibc` does not have.
#ifndef CBENCH_H
#define CBENCH_H

#include <stddef.h>

/// sched_setaffinity(2) of the calling thread; one bit for each CPU. Zero, or -1 with errno set.
int cbench_set_affinity(const unsigned char *mask, size_t bytes);

/// sched_getaffinity(2) of the calling thread.
int cbench_affinity(unsigned char *mask, size_t bytes);

/// posix_spawn_file_actions_addchdir_np(3), of a posix_spawn_file_actions_t.
int cbench_spawn_in(void *actions, const char *directory);

/// Gives the calling thread the class SCHED_IDLE.
int cbench_become_idle(void);

/// Moves the calling thread into a new network namespace. A descriptor of the one before, or -1 with errno set.
int cbench_enter_new_network(void);

/// Moves the calling thread into the network namespace of a descriptor, and closes that.
void cbench_enter_network(int descriptor);

#endif
