#include "broker/runtime/shard.h"

#include <signal.h>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/system/system_error.hpp>

#include "broker/runtime/logging.h"

namespace millrace::runtime {
namespace {

// What a woken coroutine wakes is resumed at once, so many times over: a request's answer gets to its socket
// without a look at all sockets in between.
constexpr int kMaxWakesInTurn = 4;

}  // namespace

Suspension::Suspension() : shard_(*Shard::current()) {}

Suspension::~Suspension() {
  // Destroyed without being resumed: a later cancellation must not find it. (Resuming empties the slot
  // itself.)
  if (slot_.is_connected()) slot_.clear();
}

// No coroutine itself: a wait takes one frame, that of async_initiate.
Task<Suspension::Wake> Suspension::wait(int64_t deadline_ns) {
  auto suspend = [this, deadline_ns](Handler handler) {
    slot_ = asio::get_associated_cancellation_slot(handler);
    if (slot_.is_connected()) slot_.assign([this](asio::cancellation_type) { wake(Wake::kCancelled); });
    handler_.emplace(std::move(handler));
    shard_.suspended_.push_back(*this);
    if (pending()) {
      shard_.timers().arm(*this, deadline_ns);
    } else {
      shard_.make_ready(*this);
    }
  };
  return asio::async_initiate<const UseTask, void(boost::system::error_code, Wake)>(suspend, kUseTask);
}

void Suspension::wake(Wake wake) {
  if (!pending()) return;
  wake_ = wake;
  shard_.timers().disarm(*this);
  queue_hook.unlink();
  if (handler_) shard_.make_ready(*this);
}

Shard::Shard(Id id, const Clock& clock, uint64_t random_seed)
    : id_(id),
      clock_(clock),
      context_(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO),
      work_(context_.get_executor()),
      alarm_(context_.get_executor()),
      random_(random_seed),
      timers_([this](int64_t deadline_ns) { set_alarm(deadline_ns); }) {}

Shard::~Shard() { drain(); }

Task<> Shard::sleep_ms(int64_t delay_ms) {
  Suspension suspension;
  co_await suspension.wait(clock_.deadline_in_ms(delay_ms));
}

void Shard::run_loop() {
  sigset_t broken_pipe;
  sigemptyset(&broken_pipe);
  sigaddset(&broken_pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
  const Scope scope(*this);
  context_.run();
  FrameMemory::release();
}

void Shard::stop() {
  stopped_.store(true, std::memory_order_release);
  context_.stop();
}

bool Shard::drain() {
  const Scope scope(*this);
  const bool found = !drained_ || left_over_ || !suspended_.empty();
  left_over_ = false;
  stopped_ = true;
  drained_ = true;
  work_.reset();
  while (!suspended_.empty()) {
    // Destroying the handler destroys the coroutine's frame, and the suspension with it.
    const std::optional<Suspension::Handler> handler =
        std::exchange(suspended_.front().handler_, std::nullopt);
    suspended_.front().suspended_hook_.unlink();
  }
  context_.shutdown();
  return found;
}

void Shard::report_failure(std::exception_ptr failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const boost::system::system_error& error) {
    if (error.code() != asio::error::operation_aborted) log_error("a task failed: {}", error.what());
  } catch (const std::exception& error) {
    log_error("a task failed: {}", error.what());
  } catch (...) {
    log_error("a task failed with an exception of unknown type");
  }
}

void Shard::make_ready(Suspension& suspension) {
  ready_.push_back(suspension);
  if (ready_posted_) return;
  ready_posted_ = true;
  post([this] { resume_ready(); });
}

void Shard::resume_ready() {
  for (int i = 0; i < kMaxWakesInTurn && !ready_.empty(); ++i) {
    SuspensionQueue batch;
    batch.swap(ready_);
    while (!batch.empty()) {
      Suspension& suspension = batch.front();
      batch.pop_front();
      suspension.suspended_hook_.unlink();
      // Whose cancellation slot empties itself when it is called, and whose coroutine ends the suspension.
      Suspension::Handler handler = std::move(*suspension.handler_);
      suspension.handler_.reset();
      suspension.slot_ = {};
      const Suspension::Wake wake = suspension.wake_;
      boost::system::error_code error;
      if (wake == Suspension::Wake::kCancelled) error = asio::error::operation_aborted;
      std::move(handler)(error, wake);
    }
  }
  // The others wait for the next turn: no coroutine keeps the loop from its sockets.
  ready_posted_ = !ready_.empty();
  if (ready_posted_) post([this] { resume_ready(); });
}

void Shard::set_alarm(int64_t deadline_ns) {
  const int64_t now_ns = clock_.monotonic_ns();
  alarm_.expires_after(std::chrono::nanoseconds(deadline_ns > now_ns ? deadline_ns - now_ns : 0));
  alarm_.async_wait([this](const boost::system::error_code& error) {
    if (!error) timers_.fire(clock_.monotonic_ns());
  });
}

void Shard::resume(ResumeHandler handler) {
  if (drained_) {
    left_over_ = true;  // Asio destroys the coroutine through the queue of its context
    return;
  }
  post(std::move(handler));
}

}  // namespace millrace::runtime
