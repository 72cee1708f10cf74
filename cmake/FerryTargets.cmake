# What every target of ferry shares: language level, warnings, sanitizers. Nothing is set globally.
include_guard(GLOBAL)

add_library(ferry_options INTERFACE)
target_compile_features(ferry_options INTERFACE cxx_std_20)
target_compile_options(ferry_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(ferry_options INTERFACE -Wno-restrict)  # false alarms on std::string's operator+ (GCC bug 105651)
endif()
if(FERRY_SANITIZE)
  target_compile_options(ferry_options INTERFACE -fsanitize=${FERRY_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(ferry_options INTERFACE -fsanitize=${FERRY_SANITIZE})
endif()

# Compiles the sources of each folder of the target as one. Most of a source's compile time goes into headers and templates
# that its neighbours need too. Without FERRY_UNITY nothing changes.
function(ferry_unity target)
  if(NOT FERRY_UNITY)
    return()
  endif()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  get_target_property(sources ${target} SOURCES)
  foreach(source ${sources})
    cmake_path(ABSOLUTE_PATH source NORMALIZE)
    cmake_path(GET source PARENT_PATH folder)
    cmake_path(RELATIVE_PATH folder BASE_DIRECTORY "${PROJECT_SOURCE_DIR}")
    string(REPLACE "/" "_" folder "${folder}")
    set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${folder})
  endforeach()
endfunction()

# Compiled more often than run: for tests, whose subjects are optimised as ever.
function(ferry_hasty target)
  target_compile_options(${target} PRIVATE -O0)
endfunction()

# What a user runs: the tool and the modules (`cmake --build build --target ferry_programs`).
add_custom_target(ferry_programs)

# ferry_backend(NAME [TEST_ONLY] SOURCES...): a module libferry_NAME.so in <build>/lib/ferry, installed to lib/ferry unless
# it is for tests. It may include backend_abi.h and backends/ and nothing else of ferry.
function(ferry_backend name)
  cmake_parse_arguments(PARSE_ARGV 1 backend "TEST_ONLY" "" "")
  add_library(ferry_${name} MODULE ${backend_UNPARSED_ARGUMENTS})
  ferry_unity(ferry_${name})
  target_link_libraries(ferry_${name} PRIVATE ferry_options)
  target_include_directories(ferry_${name} PRIVATE "${PROJECT_SOURCE_DIR}/backends")
  set_target_properties(ferry_${name} PROPERTIES
    LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib/ferry"
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON
    # CMake takes link folders outside the project only, and FERRY_DEPS_DIR is inside by default.
    INSTALL_RPATH "$ORIGIN/deps;${FERRY_DEPS_DIR}/wheels/openvino/libs;${FERRY_DEPS_DIR}/wheels/torch/lib"
    INSTALL_RPATH_USE_LINK_PATH ON)
  if(NOT backend_TEST_ONLY)
    add_dependencies(ferry_programs ferry_${name})
    install(TARGETS ferry_${name} LIBRARY DESTINATION lib/ferry)
  endif()
endfunction()

add_custom_target(ferry_unit_tests)

# ferry_unit_tests(AREA [WITH sources...]): every *_test.cc of the current folder, and other sources, in one program
# `unit_AREA`, each test known to CTest.
function(ferry_unit_tests area)
  cmake_parse_arguments(PARSE_ARGV 1 unit "" "" "WITH")
  file(GLOB sources CONFIGURE_DEPENDS "*_test.cc")
  add_executable(unit_${area} ${sources} ${unit_WITH})
  target_link_libraries(unit_${area} PRIVATE ferry_core GTest::gmock_main)
  target_include_directories(unit_${area} PRIVATE "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}/tests")
  target_compile_definitions(unit_${area} PRIVATE FERRY_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                                                  FERRY_BINARY_DIR="${PROJECT_BINARY_DIR}")
  ferry_hasty(unit_${area})
  ferry_unity(unit_${area})
  target_precompile_headers(unit_${area} REUSE_FROM unit_headers)
  add_dependencies(ferry_unit_tests unit_${area})
  gtest_discover_tests(unit_${area} PROPERTIES LABELS unit DISCOVERY_TIMEOUT 60)
endfunction()
