// The instruction sets compiled in, and the one in use.
#pragma once

#include "kernels.h"

#include <string>
#include <vector>

namespace carryline {

// Names of those this machine can run, best first.
std::vector<std::string> instruction_sets();
// Throws std::invalid_argument when `name` is not one of them; empty: the best.
void use_instruction_set(const std::string& name);
const InstructionSet& instruction_set();

// brief: those whose products are of bfloat16; double precision has none.
template <class T> const Kernels<T>& kernels(bool brief = false) {
  if constexpr (sizeof(T) == sizeof(float)) return brief ? instruction_set().paired : instruction_set().single;
  else return instruction_set().twofold;
}

}  // namespace carryline
