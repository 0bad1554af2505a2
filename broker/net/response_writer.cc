#include "broker/net/response_writer.h"

#include <fmt/format.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <cerrno>
#include <cstring>
#include <limits>

#include "broker/net/frame_length.h"

namespace millrace::net {
namespace {

// A fast reader of a large response must not keep the shard from everything else: after so many bytes the
// others get a turn.
constexpr uint64_t kMaxBytesPerTurn = 1 << 20;
// Read from the disk at a time, and as much again ahead, since the reader will most likely go on there.
// Enough to keep a disk busy, and little enough for a sync that stands in line behind it.
constexpr size_t kMaxLoadBytes = 512 << 10;

std::unexpected<Error> peer_gone(int error) {
  return fail(ErrorCode::kNetworkException, std::strerror(error));
}

bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

std::array<std::byte, kLengthBytes> length_prefix(uint64_t size) {
  std::array<std::byte, kLengthBytes> prefix;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    prefix[i] = static_cast<std::byte>(size >> (8 * (kLengthBytes - 1 - i)));
  }
  return prefix;
}

}  // namespace

uint64_t wire_size(const Response& response) {
  uint64_t size = response.bytes.size();
  for (const Response::Splice& splice : response.splices) size += splice.slice.size;
  return size;
}

void append_framed(const Response& response, Buffer& out) {
  const auto length = length_prefix(response.bytes.size());
  out.insert(out.end(), length.begin(), length.end());
  out.insert(out.end(), response.bytes.begin(), response.bytes.end());
}

runtime::Task<Result<void>> ResponseWriter::write_framed(Bytes framed) {
  bytes_this_turn_ = 0;
  const Bytes no_prefix;
  co_return co_await send_memory(no_prefix, framed, false);
}

size_t ResponseWriter::write_at_once(Bytes framed) {
  if (!socket_.is_open()) return 0;
  const Bytes no_prefix;
  return static_cast<size_t>(std::max<ssize_t>(send_now(no_prefix, framed, false), 0));
}

runtime::Task<Result<void>> ResponseWriter::write(const Response& response) {
  const uint64_t size = wire_size(response);
  if (size > static_cast<uint64_t>(std::numeric_limits<int32_t>::max())) {
    co_return fail(ErrorCode::kMessageTooLarge, fmt::format("a response of {} bytes", size));
  }
  bytes_this_turn_ = 0;
  const auto length = length_prefix(size);
  Bytes prefix(length);
  const Bytes bytes(response.bytes);
  size_t position = 0;
  for (const Response::Splice& splice : response.splices) {
    if (splice.slice.size == 0) continue;
    if (splice.at < position || splice.at > bytes.size()) {
      co_return fail(ErrorCode::kUnknownServerError, "a response's slices are out of order");
    }
    const Bytes part = bytes.subspan(position, splice.at - position);
    position = splice.at;
    if (!prefix.empty() || !part.empty()) {
      const Result<void> sent = co_await send_memory(prefix, part, true);
      if (!sent) co_return sent;
      prefix = {};
    }
    const Result<void> sent = co_await send_file(splice.slice);
    if (!sent) co_return sent;
  }
  const Bytes rest = bytes.subspan(position);
  if (prefix.empty() && rest.empty()) co_return Result<void>();
  co_return co_await send_memory(prefix, rest, false);
}

// As sendmsg returns it.
ssize_t ResponseWriter::send_now(Bytes first, Bytes second, bool more) {
  const int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0);
  ssize_t sent = 0;
  if (first.empty()) {  // is cheaper
    sent = ::send(socket_.native_handle(), second.data(), second.size(), flags);
  } else {
    std::array<iovec, 2> parts{iovec{const_cast<std::byte*>(first.data()), first.size()},
                               iovec{const_cast<std::byte*>(second.data()), second.size()}};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    sent = ::sendmsg(socket_.native_handle(), &message, flags);
  }
  if (sent > 0) {
    bytes_written_ += static_cast<uint64_t>(sent);
    bytes_this_turn_ += static_cast<uint64_t>(sent);
  }
  return sent;
}

runtime::Task<Result<void>> ResponseWriter::send_memory(Bytes first, Bytes second, bool more) {
  while (!first.empty() || !second.empty()) {
    const ssize_t sent = send_now(first, second, more);
    if (sent >= 0) {
      const size_t of_first = std::min(first.size(), static_cast<size_t>(sent));
      first = first.subspan(of_first);
      second = second.subspan(static_cast<size_t>(sent) - of_first);
    } else if (would_block(errno)) {
      const bool writable = co_await wait_writable();
      if (!writable) co_return peer_gone(ECONNABORTED);
    } else if (errno != EINTR) {
      co_return peer_gone(errno);
    }
  }
  co_return Result<void>();
}

runtime::Task<Result<void>> ResponseWriter::send_file(const storage::FileSlice& slice) {
  off_t position = slice.position;
  size_t left = slice.size;
  size_t in_memory = 0;  // of what is left, known to be there
  while (left > 0) {
    if (in_memory == 0) {
      in_memory = std::min<size_t>(left, kMaxBytesPerTurn);
      if (cold_reads_ != nullptr && !slice.file->is_cached(position, in_memory)) {
        in_memory = std::min(in_memory, kMaxLoadBytes);
        auto load = [&] { return slice.file->load(position, in_memory, in_memory); };
        const Result<> loaded = co_await cold_reads_->run(load);
        if (!loaded) co_return loaded;
        if (!socket_.is_open()) co_return peer_gone(ECONNABORTED);
      }
    }
    const ssize_t sent = ::sendfile(socket_.native_handle(), slice.file->fd(), &position, in_memory);
    if (sent > 0) {
      in_memory -= static_cast<size_t>(sent);
      left -= static_cast<size_t>(sent);
      bytes_written_ += static_cast<uint64_t>(sent);
      bytes_this_turn_ += static_cast<uint64_t>(sent);
      if (left > 0 && bytes_this_turn_ >= kMaxBytesPerTurn) co_await give_way();
      if (!socket_.is_open()) co_return peer_gone(ECONNABORTED);
    } else if (sent == 0) {
      // The next reader is told by the log.
      slice.file->note_end(position);
      co_return fail(ErrorCode::kKafkaStorageError,
                     fmt::format("{} ends at byte {}, {} bytes before the end of what was to be sent: it was "
                                 "cut off; restore it, and see with `millrace log verify` what is sound",
                                 slice.file->path(), position, left));
    } else if (would_block(errno)) {
      const bool writable = co_await wait_writable();
      if (!writable) co_return peer_gone(ECONNABORTED);
      // A slow reader's part may have gone from memory meanwhile.
      in_memory = 0;
    } else if (errno == EIO || errno == EBADF || errno == EINVAL || errno == EOVERFLOW) {
      co_return fail(ErrorCode::kKafkaStorageError,
                     fmt::format("can't send {}: {}", slice.file->path(), std::strerror(errno)));
    } else if (errno != EINTR) {
      co_return peer_gone(errno);
    }
  }
  co_return Result<void>();
}

runtime::Task<bool> ResponseWriter::wait_writable() {
  bytes_this_turn_ = 0;
  boost::system::error_code error;
  co_await socket_.async_wait(Socket::wait_write, asio::redirect_error(runtime::kUseTask, error));
  co_return !error && socket_.is_open();
}

runtime::Task<void> ResponseWriter::give_way() {
  bytes_this_turn_ = 0;
  co_await asio::post(socket_.get_executor(), runtime::kUseTask);
}

}  // namespace millrace::net
