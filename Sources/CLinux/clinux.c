#define _GNU_SOURCE
#include "CLinux.h"

#include <malloc.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int clinux_accept(int listener, struct sockaddr_storage *address, socklen_t *length) {
    return accept4(listener, (struct sockaddr *)address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

int clinux_stream_socket(int family) {
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

void clinux_event_set(struct epoll_event *event, uint32_t mask, uint64_t token) {
    event->events = mask;
    event->data.u64 = token;
}

void clinux_name_thread(const char *name) {
    char kept[16];
    strncpy(kept, name, sizeof kept - 1);
    kept[sizeof kept - 1] = 0;
    pthread_setname_np(pthread_self(), kept);
}

int clinux_join_until(pthread_t thread, int64_t seconds, int64_t nanoseconds) {
    struct timespec end = {.tv_sec = seconds, .tv_nsec = nanoseconds};
    return pthread_timedjoin_np(thread, NULL, &end);
}

int clinux_thread_id(void) {
    return (int)syscall(SYS_gettid);
}

void clinux_heap(uint64_t *used, uint64_t *total) {
    struct mallinfo2 info = mallinfo2();
    // Blocks of their own mapping are left out: event loops reserve address space in them.
    *used = info.uordblks;
    *total = info.arena;
}

void clinux_heap_trim(void) {
    malloc_trim(0);
}
