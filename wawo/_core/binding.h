/* F5 binding: the few lines of C that Cython cannot say. Included by the binding alone, once. */
#ifndef WAWO_BINDING_H
#define WAWO_BINDING_H

#include <Python.h>

#include "wawo.h"

/* The thread state of a loop thread, its own for life; what it last took over from threading, only compared. */
static WAWO_THREAD_LOCAL PyThreadState *loop_state;
static WAWO_THREAD_LOCAL PyObject *loop_trace, *loop_profile;

/* The event that this thread delivers, NULL outside of that. */
static WAWO_THREAD_LOCAL const struct wawo_event *delivered;

static const struct wawo_event **py_delivered(void)
{
    return &delivered;
}
static void py_pin(void) /* keeps the state of this thread beyond the GILState block that we are in */
{
    (void)PyGILState_Ensure();
    loop_state = PyThreadState_Get();
}
static void py_unpin(void)
{
    PyGILState_Release(PyGILState_LOCKED);
}
static void py_enter(void)
{
    PyEval_RestoreThread(loop_state);
}
static void py_leave(void)
{
    (void)PyEval_SaveThread();
}
static int py_hook_changed(PyObject *dict, PyObject *key, int profile)
{
    PyObject **last = profile ? &loop_profile : &loop_trace;
    PyObject *now = PyDict_GetItemWithError(dict, key);

    if (now == Py_None)
        now = NULL;
    if (now == *last)
        return 0;
    *last = now;
    return 1;
}
static PyObject *py_take_error(void) /* the exception that is set, with its traceback */
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *trace;

    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (trace != NULL)
        PyException_SetTraceback(value, trace);
    Py_XDECREF(type);
    Py_XDECREF(trace);
    return value;
#endif
}
#ifdef Py_GIL_DISABLED
#define PY_HAS_GIL 0
#else
#define PY_HAS_GIL 1
#endif

#endif
