#include "dispatch.h"

#include <stdexcept>

namespace carryline {

#define CARRYLINE_DECLARE(isa)            \
  namespace isa {                         \
  extern const Kernels<float> single;     \
  extern const Kernels<double> twofold;   \
  extern const Kernels<float> paired;     \
  }

#if defined(__x86_64__)
CARRYLINE_DECLARE(avx512_bf16)
CARRYLINE_DECLARE(avx512)
CARRYLINE_DECLARE(avx2)
#endif
CARRYLINE_DECLARE(baseline)

namespace {

bool always() { return true; }
#if defined(__x86_64__)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
bool has_avx512_bf16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }
#endif

// Double precision serves gradient checks, and pairs without an instruction for them nothing but
// trying: those of avx2 do for wider vectors, too, and a third of the time to compile is saved.
const InstructionSet all[] = {
#if defined(__x86_64__)
    {"avx512_bf16", has_avx512_bf16, avx512::single, avx2::twofold, avx512_bf16::paired},
    {"avx512", has_avx512, avx512::single, avx2::twofold, avx2::paired},
    {"avx2", has_avx2, avx2::single, avx2::twofold, avx2::paired},
#endif
    {"baseline", always, baseline::single, baseline::twofold, baseline::paired},
};

const InstructionSet* chosen = nullptr;

}  // namespace

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const auto& set : all)
    if (set.supported()) names.push_back(set.name);
  return names;
}

void use_instruction_set(const std::string& name) {
  std::string known;
  for (const auto& set : all) {
    if (!set.supported()) continue;
    if (name.empty() || name == set.name) {
      chosen = &set;
      return;
    }
    known += (known.empty() ? "" : ", ") + std::string(set.name);
  }
  throw std::invalid_argument("this machine runs the instruction sets " + known + ", not '" + name + "'");
}

const InstructionSet& instruction_set() { return *chosen; }

}  // namespace carryline
