#include "broker/net/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/redirect_error.hpp>
#include <cassert>

#include "broker/net/connection_counters.h"
#include "broker/runtime/rate_limited_log.h"

namespace millrace::net {
namespace {

// The first bytes of a frame get memory at once; the rest by growing, a multiple of what has arrived.
constexpr size_t kFirstChunkBytes = 16 << 10;
constexpr size_t kGrowthFactor = 4;
// A sender that is always faster doesn't keep the shard from everybody else: so much is received in one turn.
constexpr size_t kMaxBytesPerTurn = 1 << 20;
// Responses up to this size are copied together when several are ready, up to so many bytes.
constexpr size_t kSmallResponseBytes = 4 << 10;
constexpr size_t kTogetherBytes = 64 << 10;
// What a frame's sender must manage on average once its frame is large.
constexpr int64_t kSlowestBytesPerMs = 256;

int16_t read_int16(Bytes two) {
  return static_cast<int16_t>((std::to_integer<uint16_t>(two[0]) << 8) | std::to_integer<uint16_t>(two[1]));
}

}  // namespace

struct Connection::Exchange {
  // One for each request, as its coroutines' frames are.
  static void* operator new(size_t bytes) { return runtime::FrameMemory::allocate(bytes); }
  static void operator delete(void* place, size_t bytes) { runtime::FrameMemory::free(place, bytes); }

  Request request;
  Response response;
  bool done = false;
  size_t frame_size = 0;
  RequestHandler::Outline outline() const { return {request.api_key, frame_size}; }
  size_t unsent_bytes() const { return response.send ? response.bytes.size() : 0; }
  // Whether its response may share a system call with others.
  bool is_small() const {
    return done && response.send && !response.close && response.splices.empty() &&
           response.bytes.size() <= kSmallResponseBytes;
  }
};

Connection::Connection(ConnectionGroup& group, runtime::Shard& shard, OwnedFd fd,
                       std::unique_ptr<ConnectionInfo> info)
    : group_(group),
      shard_(shard),
      socket_(shard.executor()),
      info_(std::move(info)),
      writer_(socket_, group_.options().cold_reads),
      reader_(shard),
      writing_(shard) {
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  ::setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  const bool is_v6 = info_->client_host.find(':') != std::string::npos;
  boost::system::error_code error;
  socket_.assign(is_v6 ? asio::ip::tcp::v6() : asio::ip::tcp::v4(), fd.get(), error);
  if (!error) fd.release();
  closed_ = static_cast<bool>(error);
  group_.per_shard_[shard_.id()]->connections[info_->id] = this;
}

Connection::~Connection() {
  group_.per_shard_[shard_.id()]->connections.erase(info_->id);
  group_.ended(*info_);
}

void Connection::start() {
  if (closed_) return;
  idle_deadline_ns_ = shard_.clock().deadline_in_ms(group_.options().idle_ms);
  arm_watchdog();
  reader_.spawn([self = shared_from_this()] { return self->read_requests(); });
  writing_.spawn([self = shared_from_this()] { return self->write_responses(); });
}

void Connection::finish() {
  reading_done_ = true;
  info_->set_client_gone();
  reader_.cancel();
  answered_.notify_all();
}

void Connection::close() {
  if (closed_) return;
  closed_ = reading_done_ = true;
  info_->set_client_gone();
  boost::system::error_code ignored;
  socket_.close(ignored);
  shard_.timers().disarm(*this);
  reader_.cancel();
  writing_.cancel();
  // What hasn't been started never will be.
  while (pipeline_.size() > started_) pipeline_.pop_back();
}

void Connection::log_refusal(const std::string& reason) const {
  static runtime::RateLimitedLog log(runtime::LogLevel::kWarning);
  group_.counters_->refused_frames.add();
  log.write(shard_.clock(), "closing the connection from {}: {}", info_->client(), reason);
}

// Reading.

bool Connection::has_room() const {
  return pipeline_.empty() || (pipeline_.size() < kMaxPipelinedRequests &&
                               frame_bytes_ < kMaxPipelinedBytes && unsent_bytes_ < kMaxUnsentBytes);
}

runtime::Task<> Connection::read_requests() {
  while (!reading_done_) {
    while (!has_room()) co_await room_.wait();
    std::unique_ptr<Exchange> exchange = take_buffered_frame();
    if (exchange == nullptr && inbox_begin_ == inbox_end_ && socket_drained_) {
      // Most requests come whole, after a while of nothing: without the coroutines of read_frame().
      idle_deadline_ns_ = shard_.clock().deadline_in_ms(group_.options().idle_ms);
      inbox_begin_ = inbox_end_ = 0;
      boost::system::error_code error;
      const size_t received = co_await socket_.async_read_some(
          asio::buffer(inbox_), asio::redirect_error(runtime::kUseTask, error));
      if (error) break;
      inbox_end_ = received;
      note_received(received, inbox_.size());
      if (received < kLengthBytes)
        expect_frame_by(shard_.clock().deadline_in_ms(group_.options().frame_timeout_ms));
      exchange = take_buffered_frame();
    }
    if (exchange == nullptr) exchange = co_await read_frame();
    if (exchange == nullptr) break;
    enqueue(std::move(exchange));
  }
  expect_no_frame();
  idle_deadline_ns_ = runtime::kNever;
  reading_done_ = true;
  info_->set_client_gone();
  answered_.notify_all();
}

void Connection::expect_frame_by(int64_t deadline_ns) {
  frame_deadline_ns_ = deadline_ns;
  stall_deadline_ns_ = shard_.clock().deadline_in_ms(group_.options().frame_stall_ms);
  arm_watchdog();
}

void Connection::expect_no_frame() { frame_deadline_ns_ = stall_deadline_ns_ = runtime::kNever; }

// A frame that is in the inbox already, without the coroutines that waiting for one takes. Null, and nothing
// changed, when it isn't, when it is none, or when its memory has to be waited for: read_frame() knows what
// to do.
std::unique_ptr<Connection::Exchange> Connection::take_buffered_frame() {
  const Bytes buffered(inbox_.data() + inbox_begin_, inbox_end_ - inbox_begin_);
  if (buffered.size() < kLengthBytes || refuse_length(buffered, group_.options().max_request_bytes)) {
    return nullptr;
  }
  const auto length = static_cast<size_t>(read_length(buffered));
  if (buffered.size() - kLengthBytes < length) return nullptr;
  static_assert(sizeof inbox_ <= kSmallFrameBytes);
  auto exchange = std::make_unique<Exchange>();
  FrameBuffer& frame = exchange->request.memory;
  if (!group_.budget(shard_).try_acquire(frame.lease, static_cast<int64_t>(length))) return nullptr;
  if (!frame.reserve(length)) return nullptr;
  frame.append(buffered.subspan(kLengthBytes, length));
  inbox_begin_ += kLengthBytes + length;
  return exchange;
}

runtime::Task<std::unique_ptr<Connection::Exchange>> Connection::read_frame() {
  idle_deadline_ns_ = shard_.clock().deadline_in_ms(group_.options().idle_ms);
  const bool filled = co_await fill_inbox(kLengthBytes);
  if (!filled) {
    if (inbox_end_ > inbox_begin_ && !reading_done_) log_refusal("it ended inside the length of a request");
    co_return nullptr;
  }
  // With the length comes the rest of it, if it is a small one.
  if (std::unique_ptr<Exchange> exchange = take_buffered_frame()) {
    expect_no_frame();
    co_return exchange;
  }
  const Bytes length_bytes(inbox_.data() + inbox_begin_, kLengthBytes);
  if (const auto reason = refuse_length(length_bytes, group_.options().max_request_bytes)) {
    log_refusal(*reason);
    co_return nullptr;
  }
  const auto length = static_cast<size_t>(read_length(length_bytes));
  inbox_begin_ += kLengthBytes;
  if (inbox_end_ - inbox_begin_ < length) {
    expect_frame_by(shard_.clock().deadline_in_ms(group_.options().frame_timeout_ms +
                                                  static_cast<int64_t>(length) / kSlowestBytesPerMs));
  }
  auto exchange = std::make_unique<Exchange>();
  const bool whole = co_await read_body(exchange->request.memory, length);
  if (!whole) co_return nullptr;
  expect_no_frame();
  co_return exchange;
}

// Receives until the inbox holds `wanted` bytes (which fit); false when the connection ends before.
runtime::Task<bool> Connection::fill_inbox(size_t wanted) {
  if (inbox_end_ - inbox_begin_ >= wanted) co_return true;
  std::copy(inbox_.begin() + inbox_begin_, inbox_.begin() + inbox_end_, inbox_.begin());
  inbox_end_ -= inbox_begin_;
  inbox_begin_ = 0;
  while (inbox_end_ - inbox_begin_ < wanted) {
    const MutableBytes room(inbox_.data() + inbox_end_, inbox_.size() - inbox_end_);
    const MutableBytes nowhere;
    size_t received = receive_now(room, nowhere);
    if (received == 0) received = co_await receive(room, nowhere);
    if (received == 0) co_return false;
    inbox_end_ += received;
    if (frame_deadline_ns_ == runtime::kNever && inbox_end_ - inbox_begin_ < wanted) {
      expect_frame_by(shard_.clock().deadline_in_ms(group_.options().frame_timeout_ms));
    }
  }
  co_return true;
}

runtime::Task<bool> Connection::read_body(FrameBuffer& frame, size_t length) {
  bool grown = co_await grow(frame, std::min(length, kFirstChunkBytes));
  if (!grown) co_return false;
  const size_t buffered = std::min(length, inbox_end_ - inbox_begin_);
  frame.append(Bytes(inbox_.data() + inbox_begin_, buffered));
  inbox_begin_ += buffered;
  if (inbox_begin_ == inbox_end_) inbox_begin_ = inbox_end_ = 0;
  while (frame.size() < length) {
    if (frame.room().empty()) {
      grown = co_await grow(frame, std::min(length, frame.capacity() * kGrowthFactor));
      if (!grown) co_return false;
    }
    const MutableBytes room = frame.room();
    // What follows the frame comes along.
    const MutableBytes spare = frame.size() + room.size() == length ? MutableBytes(inbox_) : MutableBytes();
    size_t received = receive_now(room, spare);
    if (received == 0) received = co_await receive(room, spare);
    if (received == 0) {
      if (!reading_done_) {
        log_refusal(fmt::format("it ended after {} of a request's {} bytes", frame.size(), length));
      }
      co_return false;
    }
    frame.commit(std::min(received, room.size()));
    if (received > room.size()) inbox_end_ = received - room.size();
    // Noticed by the watchdog when it fires too early.
    stall_deadline_ns_ = shard_.clock().deadline_in_ms(group_.options().frame_stall_ms);
  }
  co_return true;
}

// Takes the memory from the shard's budget first.
runtime::Task<bool> Connection::grow(FrameBuffer& frame, size_t capacity) {
  const auto amount = static_cast<int64_t>(capacity - frame.capacity());
  using Use = runtime::MemoryBudget::Use;
  co_await charge(frame.lease, amount, capacity > kSmallFrameBytes ? Use::kBulk : Use::kAny);
  if (frame.reserve(capacity)) co_return true;
  log_refusal(fmt::format("no memory for a request of {} bytes", capacity));
  co_return false;
}

// Waiting for memory is not the client's fault: its deadline waits too.
runtime::Task<> Connection::charge(runtime::MemoryLease& lease, int64_t amount,
                                   runtime::MemoryBudget::Use use) {
  runtime::MemoryBudget& budget = group_.budget(shard_);
  if (budget.try_acquire(lease, amount, use)) co_return;
  const int64_t deadline_ns = frame_deadline_ns_;
  expect_no_frame();
  const int64_t started_ns = shard_.clock().monotonic_ns();
  co_await budget.acquire(lease, amount, use);
  if (deadline_ns == runtime::kNever) co_return;
  expect_frame_by(deadline_ns + (shard_.clock().monotonic_ns() - started_ns));
}

// At least one byte, into `room` and when that is full into `spare`; or 0 when nothing more will come.
runtime::Task<size_t> Connection::receive(MutableBytes room, MutableBytes spare) {
  if (closed_) co_return 0;
  boost::system::error_code error;
  const std::array<asio::mutable_buffer, 2> places = {asio::buffer(room.data(), room.size()),
                                                      asio::buffer(spare.data(), spare.size())};
  const size_t received =
      co_await socket_.async_read_some(places, asio::redirect_error(runtime::kUseTask, error));
  if (error) co_return 0;
  note_received(received, room.size() + spare.size());
  co_return received;
}

// By a call that waited for it.
void Connection::note_received(size_t received, size_t room) {
  received_this_turn_ = 0;
  socket_drained_ = received < room;
  group_.counters_->received_bytes.add(received);
}

// The same without waiting: 0 when receive() should be asked.
size_t Connection::receive_now(MutableBytes room, MutableBytes spare) {
  if (closed_ || socket_drained_ || received_this_turn_ >= kMaxBytesPerTurn) return 0;
  const std::array<iovec, 2> places = {iovec{room.data(), room.size()}, iovec{spare.data(), spare.size()}};
  const ssize_t result = ::readv(socket_.native_handle(), places.data(), static_cast<int>(places.size()));
  const auto received = static_cast<size_t>(std::max<ssize_t>(result, 0));
  socket_drained_ = received < room.size() + spare.size();
  received_this_turn_ += received;
  group_.counters_->received_bytes.add(received);
  return received;
}

// Handling.

void Connection::enqueue(std::unique_ptr<Exchange> exchange) {
  Request& request = exchange->request;
  request.frame = request.memory.bytes();
  request.api_key = read_int16(request.frame.subspan(0, 2));
  request.api_version = read_int16(request.frame.subspan(2, 2));
  request.connection = info_.get();
  request.shard = &shard_;
  request.budget = &group_.budget(shard_);
  request.received_ms = shard_.clock().now_ms();
  request.received_ns = shard_.clock().monotonic_ns();
  exchange->frame_size = request.frame.size();
  frame_bytes_ += exchange->frame_size;
  pipeline_.push_back(std::move(exchange));
  start_requests();
}

void Connection::start_requests() {
  while (!closed_ && started_ < pipeline_.size() && unsent_bytes_ < kMaxUnsentBytes) {
    Exchange& next = *pipeline_[started_];
    if (running_ > 0 && !may_overlap(next)) return;
    ++running_;
    ++started_;
    shard_.spawn([self = shared_from_this(), &next] { return self->handle(next); });
  }
}

// Whether it may start while those before it are handled that haven't finished.
bool Connection::may_overlap(const Exchange& next) const {
  const auto lets_it = [&](const auto& before) {
    return before->done || group_.handler().may_overlap(before->outline(), next.outline());
  };
  return std::all_of(pipeline_.begin(), pipeline_.begin() + static_cast<ptrdiff_t>(started_), lets_it);
}

runtime::Task<> Connection::handle(Exchange& exchange) {
  try {
    exchange.response = co_await group_.handler().handle(exchange.request);
  } catch (const std::exception& error) {
    exchange.response =
        Response::closing(fmt::format("the handler of API {} version {} failed: {}", exchange.request.api_key,
                                      exchange.request.api_version, error.what()));
  }
  finished(exchange);
}

void Connection::finished(Exchange& exchange) {
  exchange.done = true;
  exchange.request.memory = FrameBuffer();
  exchange.request.frame = {};
  frame_bytes_ -= exchange.frame_size;
  unsent_bytes_ += exchange.unsent_bytes();
  --running_;
  start_requests();
  answered_.notify_all();
  room_.notify_all();
}

// Writing.

runtime::Task<> Connection::write_responses() {
  std::vector<std::unique_ptr<Exchange>> ready;
  while (!closed_) {
    if (!pipeline_.empty() && pipeline_.front()->done) {
      take_ready(ready);
      bool written = write_at_once(ready);
      if (!written) written = co_await write_ready(ready);
      if (!written) break;
      for (const auto& exchange : ready) unsent_bytes_ -= exchange->unsent_bytes();
      ready.clear();
      start_requests();
      room_.notify_all();
    } else if (reading_done_ && pipeline_.empty()) {
      break;
    } else {
      co_await answered_.wait();
    }
  }
  close();
}

// The oldest, which has an answer, and those after it that can go out with it: what waited for the same sync
// is one system call.
void Connection::take_ready(std::vector<std::unique_ptr<Exchange>>& ready) {
  assert(ready.empty());
  size_t bytes = 0;
  do {
    bytes += pipeline_.front()->response.bytes.size();
    ready.push_back(std::move(pipeline_.front()));
    pipeline_.pop_front();
    --started_;
  } while (ready.back()->is_small() && bytes < kTogetherBytes && !pipeline_.empty() &&
           pipeline_.front()->is_small());
}

// Small responses, which the socket nearly always takes: without the coroutines that waiting for it takes.
// False when there is more to do, in `framed_` what is left of small ones.
bool Connection::write_at_once(const std::vector<std::unique_ptr<Exchange>>& ready) {
  if (!ready.front()->is_small()) return false;
  for (const auto& exchange : ready) append_framed(exchange->response, framed_);
  const size_t sent = writer_.write_at_once(framed_);
  group_.counters_->sent_bytes.add(sent);
  framed_.erase(framed_.begin(), framed_.begin() + static_cast<ptrdiff_t>(sent));
  if (framed_.empty() && framed_.capacity() > kSmallResponseBytes) framed_ = Buffer();
  return framed_.empty();
}

// False when the connection is to be closed.
runtime::Task<bool> Connection::write_ready(const std::vector<std::unique_ptr<Exchange>>& ready) {
  const Response& last = ready.back()->response;
  if (last.send) {
    written_at_last_check_ = writer_.bytes_written();
    write_deadline_ns_ = shard_.clock().deadline_in_ms(group_.options().idle_ms);
    arm_watchdog();
    const uint64_t before = writer_.bytes_written();
    const Result<void> written = co_await send(ready);
    group_.counters_->sent_bytes.add(writer_.bytes_written() - before);
    write_deadline_ns_ = runtime::kNever;
    if (!written) {
      if (written.error().code != ErrorCode::kNetworkException) log_refusal(written.error().message);
      co_return false;
    }
  }
  if (last.close) log_refusal(last.close_reason);
  co_return !last.close;
}

runtime::Task<Result<void>> Connection::send(const std::vector<std::unique_ptr<Exchange>>& ready) {
  if (framed_.empty()) co_return co_await writer_.write(ready.front()->response);
  const Buffer framed = std::exchange(framed_, {});
  co_return co_await writer_.write_framed(framed);
}

// Time.

void Connection::arm_watchdog() {
  const int64_t next_ns =
      std::min({idle_deadline_ns_, frame_deadline_ns_, stall_deadline_ns_, write_deadline_ns_});
  // A deadline that moved back is noticed when the timer fires too early.
  if (!closed_ && (!armed() || next_ns < deadline_ns())) shard_.timers().arm(*this, next_ns);
}

bool Connection::has_unread() {
  int bytes = 0;
  return ::ioctl(socket_.native_handle(), FIONREAD, &bytes) == 0 && bytes > 0;
}

void Connection::expired() {
  // The last owner may let go meanwhile.
  const std::shared_ptr<Connection> self = shared_from_this();
  const int64_t now_ns = shard_.clock().monotonic_ns();
  if (write_deadline_ns_ <= now_ns) {
    if (writer_.bytes_written() == written_at_last_check_) {
      log_refusal(fmt::format("it has taken nothing of its response for {} ms", group_.options().idle_ms));
      return close();
    }
    written_at_last_check_ = writer_.bytes_written();
    write_deadline_ns_ = shard_.clock().deadline_in_ms(group_.options().idle_ms);
  }
  // What has come already and isn't read yet is no silence of the client's.
  if (stall_deadline_ns_ <= now_ns && has_unread())
    stall_deadline_ns_ = shard_.clock().deadline_in_ms(group_.options().frame_stall_ms);
  if (frame_deadline_ns_ <= now_ns || stall_deadline_ns_ <= now_ns) {
    if (frame_deadline_ns_ <= now_ns) {
      log_refusal("it began a request and didn't complete it in time");
    } else {
      log_refusal(
          fmt::format("it began a request and then sent nothing for {} ms", group_.options().frame_stall_ms));
    }
    expect_no_frame();
    idle_deadline_ns_ = runtime::kNever;
    return finish();
  }
  if (idle_deadline_ns_ <= now_ns) {
    if (pipeline_.empty() && write_deadline_ns_ == runtime::kNever) {
      runtime::log_debug("closing the connection from {}: idle for {} ms (connections.max.idle.ms)",
                         info_->client(), group_.options().idle_ms);
      return close();
    }
    idle_deadline_ns_ = shard_.clock().deadline_in_ms(group_.options().idle_ms);
  }
  arm_watchdog();
}

}  // namespace millrace::net
