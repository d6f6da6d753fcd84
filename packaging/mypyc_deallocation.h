/* Included before every C file that mypyc makes of the evaluator.

   mypyc lets objects of `acyclic` classes do without the header of the garbage collector, and yet frees them between CPython's
   Py_TRASHCAN macros, which keep what is to be freed later in a list inside that very header: a chain of some ten thousand objects
   corrupts the heap. Without these macros such a chain is freed by recursion instead, for which the evaluator's thread has the stack
   (tvix/eval/stack.py). tests/unit/eval/test_long_chains.py frees one of a million. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#undef Py_TRASHCAN_BEGIN
#undef Py_TRASHCAN_END
#define Py_TRASHCAN_BEGIN(object, deallocate) do { (void)0;
#define Py_TRASHCAN_END } while (0);
