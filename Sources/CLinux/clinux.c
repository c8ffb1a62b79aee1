#define _GNU_SOURCE
#include "CLinux.h"

#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
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

static int drop_read_only(struct dl_phdr_info *object, size_t size, void *unused) {
    (void)size;
    (void)unused;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int at = 0; at < object->dlpi_phnum; at++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[at];
        if (part->p_type != PT_LOAD || (part->p_flags & PF_W)) continue;
        uintptr_t start = (object->dlpi_addr + part->p_vaddr) & ~(page - 1);
        madvise((void *)start, object->dlpi_addr + part->p_vaddr + part->p_filesz - start, MADV_DONTNEED);
    }
    return 0;
}

void clinux_program_drop_read_only(void) {
    dl_iterate_phdr(drop_read_only, NULL);
}

int clinux_cpu_gcm_level(void) {
#ifdef __x86_64__
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2") || !__builtin_cpu_supports("aes")
        || !__builtin_cpu_supports("pclmul"))
        return 0;
    return __builtin_cpu_supports("vaes") && __builtin_cpu_supports("vpclmulqdq")
            && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
            && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
        ? 2 : 1;
#else
    return 0;
#endif
}
