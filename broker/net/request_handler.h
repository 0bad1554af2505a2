// What the network layer asks of the broker: an answer to each request. broker/api implements it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "broker/net/request.h"
#include "broker/net/response.h"
#include "broker/runtime/task.h"

namespace millrace::net {

class RequestHandler {
 public:
  virtual ~RequestHandler() = default;

  // Answers one request, on the connection's shard. `request` outlives the task. Requests of one connection
  // are handled one after the other, except where may_overlap; responses go out in request order in any case.
  // An exception that leaves it is logged and closes the connection.
  virtual runtime::Task<Response> handle(Request& request) = 0;

  struct Outline {
    int16_t api_key = 0;
    size_t frame_bytes = 0;
  };
  // Whether `next` may start while `before`, an earlier request, is still being handled: where an answer
  // waits, for the disk or for others, while the next request could be done. What depends on the order of the
  // two, `before` must do before it waits for anything but its turn on another shard, which come in order.
  virtual bool may_overlap(const Outline& before, const Outline& next) const = 0;
};

}  // namespace millrace::net
