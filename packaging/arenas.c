/* Linked into the compiled evaluator: where Python's small objects live is mapped with its pages in place.

   Python takes memory for small objects from the kernel by the mebibyte (an "arena"), and each of the 256 pages is then brought in
   by a fault of its own when it is first touched. An evaluation fills nearly every arena that it takes, in order, so the kernel may
   as well bring in all of one at once: that saves most of the time that a short evaluation spends in the kernel. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifdef __linux__
#include <sys/mman.h>

static void *allocate(void *context, size_t size) {
    (void)context;
    void *arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return arena == MAP_FAILED ? NULL : arena;
}

__attribute__((constructor)) static void map_arenas_whole(void) {
    PyObjectArenaAllocator allocator;
    PyObject_GetArenaAllocator(&allocator);
    allocator.alloc = allocate;
    PyObject_SetArenaAllocator(&allocator);
}
#endif
