// One client connection: reads frames, starts requests in order, sends responses in order, and ends for a
// reason.
//
// A request starts when all before it have finished, except where the handler lets it overlap them (Produce,
// commits). What the client doesn't read piles up to a limit, then nothing more is started,
// then nothing more is read.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "broker/net/connection_group.h"
#include "broker/net/frame_length.h"
#include "broker/net/response_writer.h"
#include "broker/runtime/notifier.h"
#include "broker/runtime/task_group.h"

namespace millrace::net {

// Lives on one shard, kept alive by its own coroutines.
class Connection final : public std::enable_shared_from_this<Connection>, private runtime::Timer {
 public:
  Connection(ConnectionGroup& group, runtime::Shard& shard, OwnedFd fd, std::unique_ptr<ConnectionInfo> info);
  ~Connection() override;

  // Starts reading and writing. Once.
  void start();
  // No more requests are read; closes when the last response is out.
  void finish();
  // Closes at once; requests under way are handled to their end, unanswered.
  void close();

 private:
  struct Exchange;  // a request and its response

  runtime::Task<> read_requests();
  std::unique_ptr<Exchange> take_buffered_frame();
  runtime::Task<std::unique_ptr<Exchange>> read_frame();
  runtime::Task<bool> fill_inbox(size_t wanted);
  runtime::Task<bool> read_body(FrameBuffer& frame, size_t length);
  runtime::Task<bool> grow(FrameBuffer& frame, size_t capacity);
  runtime::Task<> charge(runtime::MemoryLease& lease, int64_t amount, runtime::MemoryBudget::Use use);
  runtime::Task<size_t> receive(MutableBytes room, MutableBytes spare);
  size_t receive_now(MutableBytes room, MutableBytes spare);
  void note_received(size_t received, size_t room);
  void expect_frame_by(int64_t deadline_ns);
  void expect_no_frame();
  bool has_room() const;
  bool has_unread();

  void enqueue(std::unique_ptr<Exchange> exchange);
  void start_requests();
  bool may_overlap(const Exchange& next) const;
  runtime::Task<> handle(Exchange& exchange);
  void finished(Exchange& exchange);

  runtime::Task<> write_responses();
  void take_ready(std::vector<std::unique_ptr<Exchange>>& ready);
  bool write_at_once(const std::vector<std::unique_ptr<Exchange>>& ready);
  runtime::Task<bool> write_ready(const std::vector<std::unique_ptr<Exchange>>& ready);
  runtime::Task<Result<void>> send(const std::vector<std::unique_ptr<Exchange>>& ready);

  void log_refusal(const std::string& reason) const;
  void arm_watchdog();
  void expired() override;

  ConnectionGroup& group_;
  runtime::Shard& shard_;
  Socket socket_;
  const std::unique_ptr<ConnectionInfo> info_;
  ResponseWriter writer_;
  runtime::TaskGroup reader_;
  runtime::TaskGroup writing_;

  // Received and not yet part of a frame: room for a few small requests, which then cost one system call.
  std::array<std::byte, 8192> inbox_;
  size_t inbox_begin_ = 0;
  size_t inbox_end_ = 0;
  bool socket_drained_ = true;     // the last call got all there was
  size_t received_this_turn_ = 0;  // without giving others a turn

  std::deque<std::unique_ptr<Exchange>> pipeline_;  // oldest first; the front is written next
  size_t started_ = 0;                              // of the pipeline, from the front
  size_t running_ = 0;
  size_t frame_bytes_ = 0;      // of requests in the pipeline that haven't finished
  size_t unsent_bytes_ = 0;     // of finished responses in the pipeline
  Buffer framed_;               // small responses as they go out, empty in between
  runtime::Notifier room_;      // something left the pipeline or finished
  runtime::Notifier answered_;  // the front may have finished

  bool closed_ = false;
  bool reading_done_ = false;
  int64_t idle_deadline_ns_ = runtime::kNever;
  int64_t frame_deadline_ns_ = runtime::kNever;
  int64_t stall_deadline_ns_ = runtime::kNever;  // the next byte of a frame; with frame_deadline_ns_
  int64_t write_deadline_ns_ = runtime::kNever;
  uint64_t written_at_last_check_ = 0;
};

}  // namespace millrace::net
