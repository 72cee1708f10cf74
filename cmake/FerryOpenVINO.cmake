# Finds OpenVINO: the user's own (OpenVINO_DIR, CMAKE_PREFIX_PATH), else the wheel that setup/install unpacked.
include_guard(GLOBAL)

if(NOT TARGET openvino::runtime)
  find_package(OpenVINO QUIET COMPONENTS Runtime HINTS "${FERRY_DEPS_DIR}/wheels/openvino/cmake")
endif()
if(TARGET openvino::runtime)
  message(STATUS "ferry: OpenVINO ${OpenVINO_VERSION} (${OpenVINO_DIR})")
endif()
