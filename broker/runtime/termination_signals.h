// Waits for the request to stop: SIGTERM, SIGINT, or a call.
#pragma once

namespace millrace::runtime {

// Make one at the top of main, before any thread is started: it blocks the two signals, and threads inherit
// that.
class TerminationSignals {
 public:
  TerminationSignals();
  // The signals have their default effect again: a second Ctrl-C ends a process that hangs while stopping.
  ~TerminationSignals();
  TerminationSignals(const TerminationSignals&) = delete;

  // Blocks until a signal comes or request() is called. Returns the signal's number, 0 for a request. The
  // signals have their default effect again from then on.
  int wait();
  // From any thread.
  void request();

 private:
  void unblock();

  int signals_ = -1;
  int requests_ = -1;
  bool blocked_ = true;
};

}  // namespace millrace::runtime
