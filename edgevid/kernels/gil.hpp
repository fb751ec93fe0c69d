// Work without Python's lock, on any thread, also while the interpreter ends.
#pragma once

#include <Python.h>

#include <chrono>
#include <thread>

// Gives Python's lock back for as long as it lives.
//
// At the end of a program Python (before 3.14) ends a daemon thread that wants the lock back by unwinding its
// stack, which no C++ binding survives: the process would abort. Such a thread waits here for the process's end.
class Unlocked {
   public:
    Unlocked() : state_(PyEval_SaveThread()) {}
    ~Unlocked() {
        try {
            PyEval_RestoreThread(state_);
        } catch (...) {
            for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
        }
    }
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;

   private:
    PyThreadState* state_;
};
