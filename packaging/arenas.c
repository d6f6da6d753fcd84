/* Linked into the compiled evaluator: where Python's small objects live is mapped with its pages in place.

   Python takes memory for small objects from the kernel by the mebibyte (an "arena"), and each of the 256 pages is then brought in
   by a fault of its own when it is first touched. An evaluation fills nearly every arena that it takes, in order, so the kernel may
   as well bring in all of one at once.

   What is larger, dictionaries above all, comes from malloc, which gives the evaluator's thread an area of its own that grows by
   single pages, with a system call for each. One area for all threads grows by the mebibyte. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifdef __linux__
#include <sys/mman.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

static void *allocate(void *context, size_t size) {
    (void)context;
    void *arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return arena == MAP_FAILED ? NULL : arena;
}

__attribute__((constructor)) static void map_arenas_whole(void) {
#ifdef __GLIBC__
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_TOP_PAD, 4 << 20);
#endif
    PyObjectArenaAllocator allocator;
    PyObject_GetArenaAllocator(&allocator);
    allocator.alloc = allocate;
    PyObject_SetArenaAllocator(&allocator);
}
#endif
