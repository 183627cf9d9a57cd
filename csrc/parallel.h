// Tasks on threads of one call. Threads are started for the call: no pool stands idle beside
// torch's or survives a fork, and starting one costs some 20 microseconds.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace carryline {

template <class Task> void parallel(int64_t tasks, int threads, const Task& task) {
  std::atomic<int64_t> next{0};
  const auto work = [&] {
    for (int64_t i; (i = next.fetch_add(1)) < tasks;) task(i);
  };
  std::vector<std::thread> others;
  for (int64_t i = 1; i < std::min<int64_t>(threads, tasks); ++i) others.emplace_back(work);
  work();
  for (auto& other : others) other.join();
}

}  // namespace carryline
