#include "tools/input_reader.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "tools/interrupt.h"

namespace millrace::tools {
namespace {
constexpr size_t kChunk = 1 << 18;
}

InputReader::State InputReader::next(std::string_view& record, int wait_ms) {
  while (true) {
    const size_t found = buffer_.find(terminator_, std::max(at_, searched_));
    if (found != std::string::npos) {
      record = std::string_view(buffer_).substr(at_, found - at_);
      at_ = searched_ = found + terminator_.size();
      return State::kRecord;
    }
    if (end_) {
      record = std::string_view(buffer_).substr(at_);
      at_ = searched_ = buffer_.size();
      return record.empty() ? State::kEnd : State::kRecord;
    }
    buffer_.erase(0, at_);
    at_ = 0;
    searched_ = buffer_.size() >= terminator_.size() ? buffer_.size() - terminator_.size() + 1 : 0;
    pollfd entry{fd_, POLLIN, 0};
    const int ready = poll(&entry, 1, wait_ms);
    if (interrupted()) {
      end_ = true;
      continue;
    }
    if (ready <= 0) return State::kNothingYet;
    const size_t size = buffer_.size();
    buffer_.resize(size + kChunk);
    const ssize_t got = read(fd_, buffer_.data() + size, kChunk);
    buffer_.resize(size + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (got == 0) end_ = true;
    if (got < 0 && errno != EINTR && errno != EAGAIN) {
      error_ = errno;
      return State::kFailed;
    }
  }
}

}  // namespace millrace::tools
