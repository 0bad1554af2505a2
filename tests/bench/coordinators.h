// Waits until groups can be coordinated: the first to ask has the coordinators' topic made, and its
// partitions take a moment.
#pragma once

#include <span>
#include <string>

namespace millrace::bench {

// Throws std::runtime_error when it takes too long.
void await_coordinators(const std::string& broker, std::span<const std::string> groups);

}  // namespace millrace::bench
