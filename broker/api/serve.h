// Makes a handler of the table out of a function on messages: decode, handle, encode.
#pragma once

#include "broker/api/api_table.h"
#include "protocol/message.h"

namespace millrace::api {

template <class Request, class Response, runtime::Task<> (*handle)(Context&, const Request&, Response&)>
runtime::Task<Result<>> serve(Context& context, MutableBytes body, protocol::Writer& out) {
  auto request = protocol::decode<Request>(body, context.version, context.arena);
  if (!request) co_return std::unexpected(std::move(request.error()));
  Response response;
  co_await handle(context, *request, response);
  if (!context.respond) co_return Result<>();
  co_return encode(response, context.version, out);
}

// The same for handlers that never wait.
template <class Request, class Response, void (*handle)(Context&, const Request&, Response&)>
runtime::Task<Result<>> serve_now(Context& context, MutableBytes body, protocol::Writer& out) {
  auto request = protocol::decode<Request>(body, context.version, context.arena);
  if (!request) co_return std::unexpected(std::move(request.error()));
  Response response;
  handle(context, *request, response);
  co_return encode(response, context.version, out);
}

}  // namespace millrace::api
