// ApiVersions: 3 carries the client's name and features (KIP-511, KIP-584). DescribeCluster: 1 adds endpoint
// types (KIP-919), 2 fenced brokers (KIP-1073).
#include <fmt/format.h>

#include <vector>

#include "broker/api/api_table.h"
#include "broker/api/endpoints.h"
#include "broker/api/handlers.h"
#include "broker/runtime/logging.h"
#include "protocol/messages/api_versions.h"
#include "protocol/messages/describe_cluster.h"

namespace millrace::api {
namespace {

using protocol::ApiVersionsRequest;
using protocol::ApiVersionsResponse;
using protocol::DescribeClusterRequest;
using protocol::DescribeClusterResponse;

// Level 1 of Kafka's feature group.version are the groups of KIP-848; level 0, which is also supported, has
// none.
constexpr std::string_view kGroupVersion = "group.version";
constexpr int16_t kConsumerGroups = 1;
constexpr int16_t kFeaturesFromZero = 4;

constexpr int8_t kBrokerEndpoints = 1;
constexpr int8_t kControllerEndpoints = 2;

// Kafka's rule for the names that clients give themselves: letters, digits, and . - in between.
bool is_software_name(std::string_view name) {
  const auto is_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (name.empty() || !is_word(name.front()) || !is_word(name.back())) return false;
  for (const char c : name) {
    if (!is_word(c) && c != '-' && c != '.') return false;
  }
  return true;
}

}  // namespace

void api_versions(Context& context, const ApiVersionsRequest& request, ApiVersionsResponse& response) {
  if (context.version >= 3 && (!is_software_name(request.client_software_name) ||
                               !is_software_name(request.client_software_version))) {
    response.error_code = ErrorCode::kInvalidRequest;
    return;
  }
  const auto table = api_table();
  response.api_keys = context.arena.make_array<ApiVersionsResponse::Api>(table.size());
  for (size_t i = 0; i < table.size(); ++i) {
    response.api_keys[i].api_key = static_cast<int16_t>(table[i].key);
    response.api_keys[i].min_version = table[i].min_version;
    response.api_keys[i].max_version = table[i].max_version;
  }
  // A feature is named once it works. Epoch 0 says that this is known for sure.
  response.finalized_features_epoch = 0;
  response.finalized_features = context.arena.make_array<ApiVersionsResponse::FinalizedFeature>(1);
  response.finalized_features[0] = {kGroupVersion, kConsumerGroups, kConsumerGroups};
  if (context.version < kFeaturesFromZero) return;
  response.supported_features = context.arena.make_array<ApiVersionsResponse::SupportedFeature>(1);
  response.supported_features[0] = {kGroupVersion, 0, kConsumerGroups};
}

void describe_cluster(Context& context, const DescribeClusterRequest& request,
                      DescribeClusterResponse& response) {
  if (request.endpoint_type != kBrokerEndpoints) {
    const bool is_known = request.endpoint_type == kControllerEndpoints;
    response.error_code = is_known ? ErrorCode::kMismatchedEndpointType : ErrorCode::kUnsupportedEndpointType;
    response.error_message =
        is_known ? "The request was sent to an endpoint of type BROKER, but we wanted "
                   "an endpoint of type CONTROLLER"
                 : context.text(fmt::format("Unsupported endpoint type {}", request.endpoint_type));
    return;
  }
  const metadata::ImagePtr image = context.image();
  response.cluster_id = context.text(image->cluster_id().to_string());
  response.controller_id = image->controller_id();
  std::vector<DescribeClusterResponse::Broker> brokers;
  for (const auto& [id, broker] : image->brokers()) {
    const metadata::Endpoint* endpoint = endpoint_for(broker, context.request.connection->listener_name);
    if (endpoint == nullptr) continue;
    DescribeClusterResponse::Broker& answer = brokers.emplace_back();
    answer.broker_id = id;
    answer.host = context.text(endpoint->host);
    answer.port = endpoint->port;
    if (broker.rack) answer.rack = context.text(*broker.rack);
  }
  response.brokers = context.arena.copy(brokers);
  if (request.include_cluster_authorized_operations)
    response.cluster_authorized_operations = kAllClusterOperations;
}

}  // namespace millrace::api
