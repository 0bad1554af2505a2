// Requests as the raw client sends them: encoded once, each with its length and header, and the answers.
#pragma once

#include <time.h>

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "protocol/arena.h"
#include "protocol/bytes.h"
#include "protocol/error_code.h"
#include "protocol/header.h"
#include "protocol/message.h"
#include "protocol/writer.h"
#include "tests/bench/socket.h"

namespace millrace::bench {

inline constexpr std::string_view kClientId = "bench";
inline constexpr int64_t kAwaitTimeout_ns = 120'000'000'000;

// A whole frame. Throws std::runtime_error for what the version has no place for.
template <class Message>
Buffer make_frame(const Message& message, int16_t version) {
  constexpr size_t kLengthSize = 4;
  protocol::Writer writer(4096);
  writer.integer(int32_t{0});
  const protocol::RequestHeader header{
      .api_key = Message::kApi, .api_version = version, .correlation_id = 0, .client_id = kClientId};
  auto encoded = encode(header, writer);
  if (encoded) encoded = encode(message, version, writer);
  if (!encoded) throw std::runtime_error(encoded.error().message);
  writer.patch_int32(0, static_cast<int32_t>(writer.size() - kLengthSize));
  return writer.take();
}

// The message of a response without its length; views into the response and the arena. Throws
// std::runtime_error when it is something else.
template <class Message>
Message decode_response(Bytes response, int16_t version, Arena& arena) {
  Bytes body;
  const auto header = protocol::decode_response_header(response, Message::kApi, version, body);
  if (!header) throw std::runtime_error(header.error().message);
  const auto decoded = protocol::decode<Message>(body, version, arena);
  if (!decoded) throw std::runtime_error(decoded.error().message);
  return *decoded;
}

// Throws std::runtime_error.
inline void check(ErrorCode error) {
  if (error != ErrorCode::kNone) throw std::runtime_error("refused: " + std::string(error_name(error)));
}

// Whether the answer to one request, on a connection of its own, passes the test; false when it's late.
template <class Message>
bool ask(const std::string& broker, Bytes frame, int16_t version,
         const std::function<bool(const Message&)>& test) {
  Socket socket(broker);
  socket.queue(frame);
  socket.send();
  Poller poller;
  poller.add(socket, 0);
  bool answered = false;
  bool passed = false;
  const int64_t deadline_ns = now_ns() + kAwaitTimeout_ns;
  const auto take = [&](Bytes response) {
    Arena arena;
    const Message message = decode_response<Message>(response, version, arena);
    answered = true;
    passed = test(message);
  };
  while (!answered && now_ns() < deadline_ns) {
    poller.wait(deadline_ns - now_ns(), [&](size_t) { socket.receive(take); });
  }
  return passed;
}

// When `test` was first true, in ns; what it throws counts as false: nobody listens yet, or closes again.
// Throws std::runtime_error when it never is.
inline int64_t await(const std::string& broker, const std::function<bool()>& test) {
  constexpr int64_t kPause_ns = 100'000;
  for (const int64_t begun_ns = now_ns(); now_ns() < begun_ns + kAwaitTimeout_ns;) {
    try {
      if (test()) return now_ns();
    } catch (const std::exception&) {
      // Tried again.
    }
    const timespec pause{.tv_sec = 0, .tv_nsec = kPause_ns};
    nanosleep(&pause, nullptr);
  }
  throw std::runtime_error("no answer from " + broker);
}

}  // namespace millrace::bench
