// Turns a request frame into the handler's call and its response into a response frame.
#pragma once

#include "broker/api/services.h"
#include "broker/net/request_handler.h"

namespace millrace::api {

class Dispatcher final : public net::RequestHandler {
 public:
  explicit Dispatcher(Services& services) : services_(services) {}

  // A key or version that isn't served, and a body that can't be decoded, close the connection and say why;
  // an unsupported version of ApiVersions is answered with error 35 in the layout of version 0 (KIP-511).
  runtime::Task<net::Response> handle(net::Request& request) override;
  bool may_overlap(const Outline& before, const Outline& next) const override;

 private:
  Services& services_;
};

}  // namespace millrace::api
