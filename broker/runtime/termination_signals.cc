#include "broker/runtime/termination_signals.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdint>
#include <system_error>

namespace millrace::runtime {
namespace {

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

TerminationSignals::TerminationSignals() {
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signals_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  requests_ = eventfd(0, EFD_CLOEXEC);
  if (signals_ < 0 || requests_ < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
}

TerminationSignals::~TerminationSignals() {
  unblock();
  close(signals_);
  close(requests_);
}

void TerminationSignals::unblock() {
  if (!blocked_) return;
  blocked_ = false;
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

int TerminationSignals::wait() {
  pollfd sources[] = {{signals_, POLLIN, 0}, {requests_, POLLIN, 0}};
  for (;;) {
    if (poll(sources, 2, -1) < 0 && errno != EINTR) return 0;
    signalfd_siginfo info{};
    if (read(signals_, &info, sizeof(info)) == sizeof(info)) {
      unblock();
      return static_cast<int>(info.ssi_signo);
    }
    if ((sources[1].revents & POLLIN) != 0) {
      unblock();
      return 0;
    }
  }
}

void TerminationSignals::request() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(requests_, &one, sizeof(one));
}

}  // namespace millrace::runtime
