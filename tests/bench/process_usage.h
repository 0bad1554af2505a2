// What another process has used: CPU time and memory.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace millrace::bench {

struct CpuTime {
  double user_s = 0;
  double system_s = 0;
};

// Clocks of the process `pid`, all its threads, also those that have ended; 0 for pid 0. Only the sum is
// exact: the kernel splits it by counting ticks. Throws std::system_error when there is no such process.
class CpuClock {
 public:
  explicit CpuClock(pid_t pid);
  // Since this was made, or since the last call.
  CpuTime lap();

 private:
  struct Reading {
    double total_s = 0;
    double user_ticks = 0;
    double system_ticks = 0;
  };
  Reading read() const;

  pid_t pid_;
  Reading last_;
};

}  // namespace millrace::bench
