/* Names of a bundle, whatever it is called: compile with -DNETWORK=resnet8 -DUPPER=RESNET8, and its folder in -I. */
#ifndef STEPDOWN_EXAMPLE_BUNDLE_H
#define STEPDOWN_EXAMPLE_BUNDLE_H

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

#define OF(what) JOIN(UPPER, what)
#define HEADER TEXT(NETWORK.h)
#define WEIGHTS TEXT(NETWORK.weights.txt)

#include HEADER

#if defined(__GNUC__)
#define ALIGNED __attribute__((aligned(OF(_MEM_ALIGN))))
#else
#define ALIGNED _Alignas(OF(_MEM_ALIGN))
#endif

#endif
