// Makes a handler of the table out of a function on messages: decode, handle, encode.
#pragma once

#include <algorithm>

#include "broker/api/api_table.h"
#include "broker/api/request_limits.h"
#include "protocol/message.h"

namespace millrace::api {

// A request with more elements than usual has the memory that it takes reserved before it is decoded.
template <class Request>
runtime::Task<Result<Request>> decode_large(Context& context, MutableBytes body) {
  for (size_t most = RequestLimits::kFewElements;;) {
    most = std::min(most * RequestLimits::kStep, RequestLimits::kMostElements);
    const auto bytes = static_cast<int64_t>(most * RequestLimits::kBytesPerElement);
    co_await context.request.reserve(bytes - context.request.reserved_bytes);
    context.arena = RequestLimits::arena_for(context.request.frame.size(), most);
    auto request = protocol::decode<Request>(body, context.version, context.arena);
    if (!request && context.arena.refused() && most < RequestLimits::kMostElements) continue;
    const size_t elements = most - context.arena.elements_left();
    context.request.shrink_reserved(static_cast<int64_t>(elements * RequestLimits::kBytesPerElement));
    co_return request;
  }
}

template <class Request, class Response, runtime::Task<> (*handle)(Context&, const Request&, Response&)>
runtime::Task<Result<>> serve(Context& context, MutableBytes body, protocol::Writer& out) {
  auto request = protocol::decode<Request>(body, context.version, context.arena);
  if (!request && context.arena.refused()) request = co_await decode_large<Request>(context, body);
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
  if (!request && context.arena.refused()) request = co_await decode_large<Request>(context, body);
  if (!request) co_return std::unexpected(std::move(request.error()));
  Response response;
  handle(context, *request, response);
  co_return encode(response, context.version, out);
}

}  // namespace millrace::api
