// Ctrl-C and SIGTERM end a long command cleanly: it stops where it is, says what it did, and exits.
#pragma once

namespace millrace::tools {

// While one lives, SIGINT and SIGTERM set a flag. The second signal kills, as usual. Don't nest them.
class InterruptScope {
 public:
  InterruptScope();
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;
};

// Whether a signal has come; false outside of any scope.
bool interrupted();

// Forgets the signal, for what still has to be done before the end: waits work again. The next signal kills.
void clear_interrupt();

}  // namespace millrace::tools
