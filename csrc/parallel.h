// Tasks on threads of one call. Threads are started for the call: no pool stands idle beside
// torch's or survives a fork, and starting one costs some 20 microseconds.
//
// On Linux they are kept off the core of the thread that starts them: left to itself, the system
// started every second one there, and two threads took as long as one (median 21.7 instead of
// 11.5 ms).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

namespace carryline {

inline void keep_off_this_core(std::thread& thread) {
#if defined(__linux__)
  cpu_set_t cores;
  const int own = sched_getcpu();
  if (own < 0 || sched_getaffinity(0, sizeof cores, &cores) || CPU_COUNT(&cores) < 2) return;
  CPU_CLR(own, &cores);
  pthread_setaffinity_np(thread.native_handle(), sizeof cores, &cores);
#endif
}

template <class Task> void parallel(int64_t tasks, int threads, const Task& task) {
  std::atomic<int64_t> next{0};
  const auto work = [&] {
    for (int64_t i; (i = next.fetch_add(1)) < tasks;) task(i);
  };
  std::vector<std::thread> others;
  for (int64_t i = 1; i < std::min<int64_t>(threads, tasks); ++i) {
    others.emplace_back(work);
    keep_off_this_core(others.back());
  }
  work();
  for (auto& other : others) other.join();
}

}  // namespace carryline
