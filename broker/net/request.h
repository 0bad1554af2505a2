// One request as it came from the wire, and what is known about the connection that it came on.
#pragma once

#include <cassert>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <typeinfo>
#include <utility>

#include "broker/net/frame_buffer.h"
#include "broker/runtime/memory_budget.h"
#include "broker/runtime/shard.h"
#include "broker/runtime/task.h"
#include "protocol/bytes.h"

namespace millrace::net {

// Unique in the process, never reused.
using ConnectionId = uint64_t;

// A connection as handlers see it. Lives until the connection has ended and its last request was answered;
// touched on the connection's shard only.
class ConnectionInfo {
 public:
  ConnectionId id = 0;
  std::string
      client_host;  // numeric address, e.g. "127.0.0.1", "::1"; a mapped IPv4 address is shown as IPv4
  uint16_t client_port = 0;
  uint16_t listener_port = 0;
  std::string listener_name;

  // "127.0.0.1:45678", for the log.
  std::string client() const;

  // True once the client sends nothing more: it has closed its side, or the connection is being closed. A
  // handler that waits for something on the client's behalf shouldn't go on waiting.
  bool client_gone() const { return client_gone_; }
  // Has `tell` called when that comes; an empty function forgets it. One at a time, by a request that doesn't
  // overlap others.
  void when_client_gone(std::function<void()> tell) { tell_gone_ = std::move(tell); }
  // For the connection.
  void set_client_gone() {
    client_gone_ = true;
    if (const auto tell = std::exchange(tell_gone_, nullptr)) tell();
  }

  // What the handler keeps with the connection (client software, SASL state, ...): one object of one type,
  // made on first use, destroyed with the connection.
  template <class T>
  T& state() {
    if (state_ == nullptr) state_ = std::make_unique<Slot<T>>();
    assert(dynamic_cast<Slot<T>*>(state_.get()) != nullptr);
    return static_cast<Slot<T>&>(*state_).value;
  }

 private:
  struct AnySlot {
    virtual ~AnySlot() = default;
  };
  template <class T>
  struct Slot final : AnySlot {
    T value;
  };
  std::unique_ptr<AnySlot> state_;
  std::function<void()> tell_gone_;
  bool client_gone_ = false;
};

// Owned by the connection, alive until the Task that handles it has ended. Views into `frame` live as long.
struct Request {
  // From the api key on (the 4-byte length is gone). At least kMinFrameBytes. Mutable: a batch may get its
  // offsets in place.
  MutableBytes frame;
  int16_t api_key = 0;
  int16_t api_version = 0;
  ConnectionInfo* connection = nullptr;
  runtime::Shard* shard = nullptr;  // the connection's, on which handle() runs
  int64_t received_ms = 0;          // wall clock, when the last byte had come
  int64_t received_ns = 0;          // monotonic, the same moment: for latencies

  // The memory behind `frame`, charged to the shard's budget.
  FrameBuffer memory;
  // That budget, for what the handler makes of the request; null: there is none.
  runtime::MemoryBudget* budget = nullptr;
  // Charged beside the frame.
  int64_t reserved_bytes = 0;

  // Has `bytes` reserved beside the frame; waits while the budget has fewer left.
  runtime::Task<> reserve(int64_t bytes);
  // Gives back of it what is above `bytes`.
  void shrink_reserved(int64_t bytes);
  // For a handler that waits for long and has copied what it needs: a client that pads its request would
  // have others wait for the memory. Nothing may look at the frame any more. `copied_bytes` of it stay
  // charged, and what is reserved.
  void release_frame(int64_t copied_bytes = 0);
};

}  // namespace millrace::net
