// What the network layer asks of the broker: an answer to each request. broker/api implements it.
#pragma once

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

  // Whether a request may start while earlier ones of the same API, of which all said so as well and with
  // nothing else between, are still being handled: where an answer waits for the disk while the next batch
  // could be appended. The handler must do what depends on order (the append) before it waits for anything
  // but its turn on another shard, which come in order.
  virtual bool may_overlap(const Request& request) const = 0;
};

}  // namespace millrace::net
