// FindCoordinator: 1 adds the key type, 4 asks for several keys at once (KIP-699), 6 knows share groups.
#include "protocol/messages/find_coordinator.h"

#include <utility>

#include "broker/api/endpoints.h"
#include "broker/api/handlers.h"
#include "broker/coordinator/group_service.h"

namespace millrace::api {
namespace {

using protocol::FindCoordinatorRequest;
using protocol::FindCoordinatorResponse;
using Coordinator = FindCoordinatorResponse::Coordinator;

constexpr int8_t kGroupKey = 0;
constexpr int16_t kFirstBatchedVersion = 4;
// What is looked up at once; then others get a turn.
constexpr size_t kKeysPerTurn = 1'000;

void refuse(Coordinator& answer, ErrorCode error, std::string_view message) {
  answer.node_id = metadata::kNoBroker;
  answer.port = -1;
  answer.error_code = error;
  answer.error_message = message;
}

Task<> find_one(Context& context, int8_t key_type, std::string_view key, Coordinator& answer) {
  answer.key = key;
  if (key_type != kGroupKey) {
    refuse(answer, ErrorCode::kInvalidRequest, "Only groups have a coordinator here.");
    co_return;
  }
  const auto found = co_await context.services.groups->find_coordinator(key);
  const metadata::ImagePtr image = context.image();
  const auto broker = found ? image->brokers().find(*found) : image->brokers().end();
  const metadata::Endpoint* endpoint =
      broker == image->brokers().end()
          ? nullptr
          : endpoint_for(broker->second, context.request.connection->listener_name);
  if (endpoint == nullptr) {
    refuse(answer, ErrorCode::kCoordinatorNotAvailable, "The coordinator is not available.");
    co_return;
  }
  answer.node_id = *found;
  answer.host = context.text(endpoint->host);
  answer.port = endpoint->port;
}

}  // namespace

Task<> find_coordinator(Context& context, const FindCoordinatorRequest& request,
                        FindCoordinatorResponse& response) {
  if (context.version >= kFirstBatchedVersion) {
    response.coordinators = context.arena.make_array<Coordinator>(request.coordinator_keys.size());
    for (size_t i = 0; i < request.coordinator_keys.size(); ++i) {
      if (i % kKeysPerTurn == kKeysPerTurn - 1) co_await context.give_way();
      co_await find_one(context, request.key_type, request.coordinator_keys[i], response.coordinators[i]);
    }
    co_return;
  }
  Coordinator answer;
  co_await find_one(context, request.key_type, request.key, answer);
  response.error_code = answer.error_code;
  response.error_message = answer.error_code == ErrorCode::kNone ? "NONE" : answer.error_message;
  response.node_id = answer.node_id;
  response.host = answer.host;
  response.port = answer.port;
}

}  // namespace millrace::api
