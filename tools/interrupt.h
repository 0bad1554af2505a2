// Ctrl-C and SIGTERM end a long command cleanly: it stops where it is, says what it did, and exits.
#pragma once

namespace millrace::tools {

// While one lives, SIGINT and SIGTERM set a flag. The second signal kills, as usual, unless it comes at once:
// then it is the same one, sent to the process and to its group. Don't nest them.
class InterruptScope {
 public:
  InterruptScope();
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;
};

// Whether a signal has come; false outside of any scope.
bool interrupted();

// Forgets the signal, for what still has to be done before the end: waits work again. The second signal still
// kills.
void clear_interrupt();

}  // namespace millrace::tools
