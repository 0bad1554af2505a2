#include "tools/interrupt.h"

#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>

namespace millrace::tools {
namespace {

volatile std::sig_atomic_t came = 0;

// A signal this soon after the first is the same one: timeout(1) signals its child, and then the whole
// process group.
constexpr int64_t kTogetherMs = 500;
std::atomic<int64_t> first_ms = 0;
static_assert(std::atomic<int64_t>::is_always_lock_free, "for the signal handler");

int64_t now_ms() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

void on_signal(int number) {
  const int64_t first = first_ms;
  if (first == 0) {
    first_ms = now_ms();
    came = 1;
  } else if (now_ms() - first >= kTogetherMs) {
    // It comes once this handler returns.
    std::signal(number, SIG_DFL);
    std::raise(number);
  }
}

void install(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  // No SA_RESTART: a read that waits must return.
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

InterruptScope::InterruptScope() {
  came = 0;
  first_ms = 0;
  install(on_signal);
}

InterruptScope::~InterruptScope() {
  install(SIG_DFL);
  came = 0;
}

bool interrupted() { return came != 0; }

void clear_interrupt() { came = 0; }

}  // namespace millrace::tools
