#include "tools/interrupt.h"

#include <csignal>

namespace millrace::tools {
namespace {

volatile std::sig_atomic_t came = 0;

void on_signal(int) { came = 1; }

void install(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  // No SA_RESTART: a read that waits must return. The second signal finds the default action.
  action.sa_flags = handler == SIG_DFL ? 0 : static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

InterruptScope::InterruptScope() {
  came = 0;
  install(on_signal);
}

InterruptScope::~InterruptScope() {
  install(SIG_DFL);
  came = 0;
}

bool interrupted() { return came != 0; }

void clear_interrupt() { came = 0; }

}  // namespace millrace::tools
