#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

namespace carryline {
namespace {

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Looks again and again, for 0.3 milliseconds, whether `holds`.
template <class Condition> void watch(const Condition& holds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(300);
  while (!holds() && std::chrono::steady_clock::now() < end)
    for (int i = 0; i < 4; ++i) pause();
}

struct Job {
  const std::function<void(int64_t)>& task;
  const int64_t tasks;
  int64_t places;                 // for helpers, not taken yet
  std::atomic<int64_t> next{0};
  std::atomic<int64_t> helpers{0};  // at work
  std::exception_ptr error;       // the first one
  std::atomic<bool> failed{false};

  void work() {
    for (int64_t i; (i = next.fetch_add(1)) < tasks;) try {
        task(i);
      } catch (...) {
        if (!failed.exchange(true)) error = std::current_exception();
      }
  }
};

class Pool {
 public:
  void run(Job& job) {
    open(job);
    job.work();
    close(job);
    watch([&] { return job.helpers == 0; });
    std::unique_lock<std::mutex> lock(mutex);
    done.wait(lock, [&] { return job.helpers == 0; });
  }

 private:
  std::mutex mutex;                // of all below
  std::condition_variable wake, done;
  std::vector<std::thread> threads;
  std::vector<Job*> jobs;          // that have places
  std::atomic<int64_t> waiting{0};  // how many those are
  int64_t asleep = 0;
  int avoided = -1;                // the core that helpers keep off

  void open(Job& job) {
    std::lock_guard<std::mutex> lock(mutex);
    start(job.places);
    keep_off_this_core();
    jobs.push_back(&job);
    waiting = int64_t(jobs.size());
    if (asleep) wake.notify_all();
  }

  // Helpers, until there are `count`; fewer where the system gives no more.
  void start(int64_t count) {
    try {
      while (int64_t(threads.size()) < count) {
        threads.emplace_back([this] { serve(); });
        avoided = -1;
      }
    } catch (const std::system_error&) {
    }
  }

  void close(Job& job) {
    std::lock_guard<std::mutex> lock(mutex);
    jobs.erase(std::remove(jobs.begin(), jobs.end(), &job), jobs.end());
    waiting = int64_t(jobs.size());
  }

  // What a helper does, for ever.
  void serve() {
    for (std::unique_lock<std::mutex> lock(mutex);;) {
      Job& job = *take(lock);
      lock.unlock();
      job.work();
      job.helpers.fetch_sub(1);  // the job may be gone from here on
      lock.lock();
      done.notify_all();
      lock.unlock();
      watch([&] { return waiting > 0; });
      lock.lock();
    }
  }

  // Waits for a job and takes a place of it.
  Job* take(std::unique_lock<std::mutex>& lock) {
    ++asleep;
    wake.wait(lock, [&] { return !jobs.empty(); });
    --asleep;
    Job* job = jobs.back();
    ++job->helpers;
    if (--job->places == 0) jobs.pop_back();
    waiting = int64_t(jobs.size());
    return job;
  }

  // Left to itself, Linux started every second helper on the core of its caller, and two threads took
  // as long as one (median 21.7 instead of 11.5 ms).
  void keep_off_this_core() {
#if defined(__linux__)
    cpu_set_t cores;
    const int own = sched_getcpu();
    if (own < 0 || own == avoided || sched_getaffinity(0, sizeof cores, &cores) || CPU_COUNT(&cores) < 2) return;
    CPU_CLR(own, &cores);
    for (auto& thread : threads) pthread_setaffinity_np(thread.native_handle(), sizeof cores, &cores);
    avoided = own;
#endif
  }
};

Pool* pool = new Pool;  // never deleted: its threads end with the process

}  // namespace

void parallel(int64_t tasks, int threads, const std::function<void(int64_t)>& task) {
#if defined(__unix__) || defined(__APPLE__)
  static const int once = pthread_atfork(nullptr, nullptr, [] { pool = new Pool; });
  (void)once;
#endif
  Job job{task, tasks, std::min<int64_t>(threads, tasks) - 1};
  if (job.places > 0) pool->run(job);
  else job.work();
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace carryline
