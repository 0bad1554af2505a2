// What a fuzz target says to the driver. A target is one file NAME_fuzz.cc and one line in CMakeLists.txt.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "protocol/bytes.h"

// Runs the code under test on one input. Anything but returning 0 is a finding: a sanitizer's report, a
// failed assertion, an exception, a crash, a hang.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace millrace::fuzz {

// Inputs to start from: a few valid ones that differ. Made by code, so that they follow the format.
std::vector<Buffer> seeds();

// Stops with the input written to a file, like a crash. For properties that a target checks.
#define FUZZ_CHECK(condition) \
  if (!(condition)) ::millrace::fuzz::property_failed(#condition, __FILE__, __LINE__)
[[noreturn]] void property_failed(const char* condition, const char* file, int line);

}  // namespace millrace::fuzz
