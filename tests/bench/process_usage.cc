#include "tests/bench/process_usage.h"

#include <cerrno>
#include <ctime>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>

namespace millrace::bench {

CpuClock::CpuClock(pid_t pid) : pid_(pid), last_(read()) {}

CpuClock::Reading CpuClock::read() const {
  if (pid_ == 0) return {};
  clockid_t clock = 0;
  timespec time{};
  int error = clock_getcpuclockid(pid_, &clock);
  if (error == 0 && clock_gettime(clock, &time) != 0) error = errno;
  if (error != 0) throw std::system_error(error, std::generic_category(), "the broker's CPU clock");
  std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
  std::string line;
  std::getline(file, line);
  // Behind the command's name in brackets: state is field 3, user time 14, system time 15.
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  Reading reading;
  reading.total_s = static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
  fields >> reading.user_ticks >> reading.system_ticks;
  return reading;
}

CpuTime CpuClock::lap() {
  const Reading now = read();
  const double total = now.total_s - last_.total_s;
  const double user = now.user_ticks - last_.user_ticks;
  const double system = now.system_ticks - last_.system_ticks;
  last_ = now;
  const double share = user + system > 0 ? user / (user + system) : 0;
  return {.user_s = total * share, .system_s = total * (1 - share)};
}

}  // namespace millrace::bench
