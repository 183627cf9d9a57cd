// Tasks on several threads.
#pragma once

#include <cstdint>
#include <functional>

namespace carryline {

// Calls task(0) … task(tasks - 1), each once, on the calling thread and at most `threads` - 1 helpers;
// returns when all are done. What a task throws is thrown here, after the others have ended.
//
// Helpers are started when first needed and stay. Between calls they watch for work for 0.3
// milliseconds, longer than training spends between two kernels, then sleep: starting or waking one
// takes 50 to 100 microseconds on a virtual machine, a third of what one text takes. A child after a
// fork has none and starts its own.
void parallel(int64_t tasks, int threads, const std::function<void(int64_t)>& task);

}  // namespace carryline
