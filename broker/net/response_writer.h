// Puts one response on the wire: length, bytes from memory, slices from files by sendfile. A response without
// slices is one system call.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "broker/net/response.h"
#include "broker/net/socket.h"
#include "broker/runtime/disk_pool.h"
#include "broker/runtime/task.h"
#include "protocol/result.h"

namespace millrace::net {

class ResponseWriter {
 public:
  // The socket must be non-blocking and outlive the writer, as must the pool. Parts of files that aren't in
  // memory are brought there by `cold_reads`, so that the shard doesn't wait for the disk; without one
  // (nullptr) sendfile does.
  ResponseWriter(Socket& socket, runtime::DiskPool* cold_reads) : socket_(socket), cold_reads_(cold_reads) {}

  // Writes the whole response. Fails with kNetworkException when the peer has gone (or the socket was
  // closed), with kKafkaStorageError when a file is shorter than its slice or can't be read: then part of the
  // response may be out, and the connection can only be closed. `response` must outlive the task.
  runtime::Task<Result<void>> write(const Response& response);

  // The same for bytes that are whole responses already (append_framed).
  runtime::Task<Result<void>> write_framed(Bytes framed);

  // The same as far as the socket takes it now; returns how many bytes that were. Whatever stopped it,
  // write_framed() of the rest tells.
  size_t write_at_once(Bytes framed);

  // What went out so far: grows while the peer reads.
  uint64_t bytes_written() const { return bytes_written_; }

 private:
  ssize_t send_now(Bytes first, Bytes second, bool more);
  runtime::Task<Result<void>> send_memory(Bytes first, Bytes second, bool more);
  runtime::Task<Result<void>> send_file(const storage::FileSlice& slice);
  runtime::Task<bool> wait_writable();
  runtime::Task<void> give_way();

  Socket& socket_;
  runtime::DiskPool* const cold_reads_;
  uint64_t bytes_written_ = 0;
  uint64_t bytes_this_turn_ = 0;
};

// Appends a response without slices as it goes on the wire, its length before it.
void append_framed(const Response& response, Buffer& out);

// Length of the response on the wire, without the 4 bytes that say so.
uint64_t wire_size(const Response& response);

}  // namespace millrace::net
