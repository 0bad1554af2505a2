#include "tools/record_output.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "tools/interrupt.h"

namespace millrace::tools {
namespace {

std::unexpected<Error> output_failed(int error) {
  return fail(ErrorCode::kNetworkException, fmt::format("standard output: {}", std::strerror(error)));
}

}  // namespace

void RecordOutput::add(int32_t partition, int64_t offset) {
  waiting_.push_back({text_.size(), partition, offset});
}

Result<void> RecordOutput::write() {
  if (source_.due_in_ms() && fileno(console_.out) >= 0) {
    if (Result<void> written = write_beside_source(); !written) return written;
    // A signal has ended it. From now on not all that came from the source has been written.
    if (!waiting_.empty()) cut_short_ = true;
    drop_all();
    return cut_short_ ? Result<void>{} : source_.done_with_all();
  }
  written_ += static_cast<int64_t>(waiting_.size());
  console_.write(text_);
  drop_all();
  if (!console_.flush()) return output_failed(errno);
  return source_.done_with_all();
}

Result<void> RecordOutput::write_beside_source() {
  // What others have left there comes first.
  if (!console_.flush()) return output_failed(errno);
  const int fd = fileno(console_.out);
  while (!waiting_.empty()) {
    if (source_.due_in_ms() == 0) {
      if (Result<void> kept = keep_up(); !kept) return kept;
      continue;
    }
    pollfd entry = {.fd = fd, .events = POLLOUT, .revents = 0};
    const bool ending = interrupted() && between_records();
    const int64_t wait_ms = ending ? 0 : std::min<int64_t>(*source_.due_in_ms(), INT_MAX);
    const int ready = poll(&entry, 1, static_cast<int>(wait_ms));
    if (ready < 0 && errno != EINTR) return output_failed(errno);
    if (ready == 0 && ending) return {};
    if (ready <= 0) continue;
    if (Result<void> wrote = write_some(fd); !wrote) return wrote;
  }
  return {};
}

// A pipe that has room takes PIPE_BUF bytes without waiting, so whole records as far as they fit there.
Result<void> RecordOutput::write_some(int fd) {
  size_t end = waiting_.front().end;
  for (const Record& record : waiting_) {
    if (record.end - at_ > PIPE_BUF) break;
    end = record.end;
  }
  const ssize_t size = ::write(fd, text_.data() + at_, std::min<size_t>(end - at_, PIPE_BUF));
  if (size < 0 && errno != EAGAIN && errno != EINTR) return output_failed(errno);
  at_ += static_cast<size_t>(std::max<ssize_t>(size, 0));
  while (!waiting_.empty() && waiting_.front().end <= at_) {
    source_.done_with(waiting_.front().partition, waiting_.front().offset + 1);
    begin_ = waiting_.front().end;
    waiting_.pop_front();
    ++written_;
  }
  return {};
}

Result<void> RecordOutput::keep_up() {
  const Result<std::vector<int32_t>> lost = source_.keep_up();
  if (!lost) return std::unexpected(lost.error());
  if (!lost->empty()) drop_records_of(*lost);
  return {};
}

// The one that is partly written is finished: its reader would take the next one's beginning for its end.
void RecordOutput::drop_records_of(const std::vector<int32_t>& partitions) {
  std::string kept;
  std::deque<Record> records;
  size_t from = begin_;
  for (const Record& record : waiting_) {
    const bool begun = from < at_;
    if (begun || std::ranges::find(partitions, record.partition) == partitions.end()) {
      kept.append(text_, from, record.end - from);
      records.push_back({kept.size(), record.partition, record.offset});
    }
    from = record.end;
  }
  at_ -= begin_;
  begin_ = 0;
  text_ = std::move(kept);
  waiting_ = std::move(records);
}

void RecordOutput::drop_all() {
  text_.clear();
  waiting_.clear();
  begin_ = at_ = 0;
}

}  // namespace millrace::tools
