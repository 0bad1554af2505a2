// What a person can do where a RocksDB doesn't open for a reason outside it. The reason stands only in the
// text of its status.
#pragma once

#include <string_view>

namespace millrace::storage {

// Empty where the text tells of nothing that a person could change.
inline std::string_view advice_on_opening(std::string_view status) {
  const auto says = [&](std::string_view what) { return status.find(what) != std::string_view::npos; };
  if (says("No space left") || says("quota")) return "free disk space, a few MiB at least, and start again";
  if (says("Too many open files")) return "raise the limit of open files (ulimit -n), and start again";
  if (says("Permission denied")) return "let the broker's user read and write it, and start again";
  if (says("/LOCK")) return "another process may have it open";
  return "";
}

// Without the words that RocksDB puts before any reason why it can't read its file CURRENT.
inline std::string_view plain_status(std::string_view status) {
  constexpr std::string_view kMisleading = "Invalid argument: Found options incompatible with filesystem: ";
  if (status.starts_with(kMisleading)) status.remove_prefix(kMisleading.size());
  return status;
}

}  // namespace millrace::storage
