// One line of progress on a terminal's stderr: count, bytes, rate. Nothing in a pipe, and nothing for short
// work.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "tools/console.h"

namespace millrace::tools {

class Progress {
 public:
  // `total` is 0 where it isn't known. Silent when `show` is false or stderr is no terminal.
  Progress(Console& console, std::string what, int64_t total, bool show);
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Cheap; draws at most a few times per second.
  void add(int64_t records, int64_t bytes) {
    records_ += records;
    bytes_ += bytes;
    if (show_ && (++calls_ % kCallsPerLook == 0 || records > 1)) look();
  }
  // Draws if it is time to, for loops that wait.
  void tick() {
    if (show_) look();
  }
  // Takes the line off the terminal.
  void clear();

  int64_t records() const { return records_; }
  int64_t bytes() const { return bytes_; }
  double seconds() const;

 private:
  static constexpr int kCallsPerLook = 256;
  void look();

  Console& console_;
  std::string what_;
  int64_t total_;
  bool show_;
  bool drawn_ = false;
  int calls_ = 0;
  int64_t records_ = 0;
  int64_t bytes_ = 0;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point next_draw_;
};

}  // namespace millrace::tools
