// Cuts a stream of bytes (standard input, a file) into records at a terminator, and waits no longer than
// asked, so that what is typed or trickles in gets sent at once.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace millrace::tools {

class InputReader {
 public:
  // `fd` stays open and the caller's.
  InputReader(int fd, std::string terminator) : fd_(fd), terminator_(std::move(terminator)) {}

  enum class State { kRecord, kNothingYet, kEnd, kFailed };
  // The next record without its terminator, in `record`, valid until the next call. kNothingYet when none is
  // complete within `wait_ms`. What stands after the last terminator is a record too, unless it is empty.
  State next(std::string_view& record, int wait_ms);
  // errno's value of kFailed.
  int error() const { return error_; }

 private:
  int fd_;
  std::string terminator_;
  std::string buffer_;
  size_t at_ = 0;
  // Before this there is no terminator.
  size_t searched_ = 0;
  bool end_ = false;
  int error_ = 0;
};

}  // namespace millrace::tools
